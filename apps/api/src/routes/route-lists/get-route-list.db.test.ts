/** GET /route-lists/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const routes = [{ route: 'capture' }]
const make = async (domain: string, key = api.tenant.key) =>
  (await api.ask('POST', '/route-lists', { key, body: { domain, routes } })).json()

test('200: as it was made', async () => {
  const made = await make('a.test')
  expect((await api.ask('GET', `/route-lists/${made.id}`)).json()).toEqual(made)
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/route-lists/rtl_x', 'read'))

test('404 hides the lists of others, the operator’s among them', async () => {
  await expectHidden(api, 'GET', (id) => `/route-lists/${id}`, (await make('b.test', api.stranger.key)).id)
  const shared = await make('c.test', adminKey)
  expect((await api.ask('GET', `/route-lists/${shared.id}`)).statusCode).toBe(404)
})
