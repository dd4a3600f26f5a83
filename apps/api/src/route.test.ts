import { expect, test } from 'vitest'
import { takeBody } from './route.ts'

test('a body that was taken is no longer held by its request, nor are its octets', () => {
  const body = { subject: 'a' }
  const request = { body, bodyBytes: Buffer.from('{"subject":"a"}'), caller: null }
  expect(takeBody(request)).toBe(body)
  expect(request).toEqual({ body: undefined, bodyBytes: null, caller: null })
})
