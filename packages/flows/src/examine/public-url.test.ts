import { expect, test } from 'vitest'
import { judgePublicUrl } from './public-url.ts'

test.each([
  ['https://mail.example.com', 'mx', 'ok', /https/],
  ['https://mail.example.com/valija', 'smarthost', 'ok', /https/],
  ['http://mail.example.com', 'mx', 'warning', /RFC 8058/],
  ['http://127.0.0.1:3000', 'smarthost', 'warning', /cannot reach/],
  ['https://mail.internal', 'mx', 'warning', /cannot reach/],
  ['http://127.0.0.1:3000', 'capture', 'skipped', /capture/],
] as const)('%s with %s: %s', (url, delivery, status, detail) => {
  const check = judgePublicUrl(url, delivery)
  expect(check).toMatchObject({
    name: 'public_url',
    subject: url,
    status,
    detail: expect.stringMatching(detail),
  })
  expect(check.fix === null).toBe(status !== 'warning')
})
