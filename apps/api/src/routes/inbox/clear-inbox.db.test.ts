/** DELETE /inbox. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { catchMail } from './catch-mail.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('204: the tenant’s inbox is empty, and no other’s', async () => {
  await catchMail(api)
  const foreign = await catchMail(api, { tenant: api.stranger })
  const answer = await api.ask('DELETE', '/inbox')
  expect(answer.statusCode).toBe(204)
  expect((await api.ask('GET', '/inbox')).json().data).toEqual([])
  expect((await api.ask('GET', `/inbox/${foreign}`, { key: api.stranger.key })).statusCode).toBe(200)
  expect((await api.ask('DELETE', '/inbox')).statusCode).toBe(204)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/inbox', 'manage'))
