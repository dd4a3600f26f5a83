/** GET /keys/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from './refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const makeKey = async (key = api.tenant.key) =>
  (await api.ask('POST', '/keys', { key, body: { name: 'n', scopes: ['send'] } })).json()

test('200: the key without the key itself', async () => {
  const { key, ...made } = await makeKey()
  const answer = await api.ask('GET', `/keys/${made.id}`)
  expect(answer.statusCode).toBe(200)
  expect(answer.json()).toEqual(made)
  expect(answer.body).not.toContain(key)
})

test('401 and 403 without a key that has the scope read', async () =>
  expectScope(api, 'GET', `/keys/${(await makeKey()).id}`, 'read'))

test('404 hides other tenants’ keys', async () =>
  expectHidden(api, 'GET', (id) => `/keys/${id}`, (await makeKey(api.stranger.key)).id))
