/** GET /inbox/:id/raw. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { catchMail } from './catch-mail.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the mail octet for octet', async () => {
  const raw = 'Subject: x\r\n\r\n\u00fc\0 . \r\n..\r\n'
  const answer = await api.ask('GET', `/inbox/${await catchMail(api, { raw })}/raw`)
  expect(answer.statusCode).toBe(200)
  expect(answer.headers).toMatchObject({
    'content-type': 'message/rfc822',
    'x-content-type-options': 'nosniff',
  })
  expect(answer.rawPayload).toEqual(Buffer.from(raw))
})

test('401 and 403 without a key that has the scope read:content', () =>
  expectScope(api, 'GET', '/inbox/inb_x/raw', 'read:content'))

test('404 hides other tenants’ mails', async () =>
  expectHidden(api, 'GET', (id) => `/inbox/${id}/raw`, await catchMail(api, { tenant: api.stranger })))
