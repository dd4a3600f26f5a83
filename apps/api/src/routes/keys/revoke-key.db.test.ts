/** DELETE /keys/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from './refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const makeKey = async (key = api.tenant.key) =>
  (await api.ask('POST', '/keys', { key, body: { name: 'n', scopes: ['read'] } })).json()

test('204: a key that is in use is refused soon after, and gone', async () => {
  const { id, key } = await makeKey()
  expect((await api.ask('GET', '/keys', { key })).statusCode).toBe(200)
  const answer = await api.ask('DELETE', `/keys/${id}`)
  expect(answer.statusCode).toBe(204)
  expect(answer.body).toBe('')
  await expect
    .poll(async () => (await api.ask('GET', '/keys', { key })).statusCode, { timeout: 1_500 })
    .toBe(401)
  expect((await api.ask('GET', `/keys/${id}`)).statusCode).toBe(404)
  expect((await api.ask('DELETE', `/keys/${id}`)).statusCode).toBe(404)
})

test('401 and 403 without a key that has the scope manage', async () =>
  expectScope(api, 'DELETE', `/keys/${(await makeKey()).id}`, 'manage'))

test('404 hides other tenants’ keys, and leaves them', async () => {
  const { id, key } = await makeKey(api.stranger.key)
  await expectHidden(api, 'DELETE', (given) => `/keys/${given}`, id)
  expect((await api.ask('GET', '/keys', { key })).statusCode).toBe(200)
})
