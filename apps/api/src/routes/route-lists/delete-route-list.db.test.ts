/** DELETE /route-lists/:id. */
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

const remove = (id: string, key = api.tenant.key) => api.ask('DELETE', `/route-lists/${id}`, { key })

test('204: gone', async () => {
  const { id } = await make('a.test')
  expect((await remove(id)).statusCode).toBe(204)
  expect((await remove(id)).statusCode).toBe(404)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/route-lists/rtl_x', 'manage'))

test('404 hides the lists of others', async () => {
  await expectHidden(api, 'DELETE', (id) => `/route-lists/${id}`, (await make('b.test', api.stranger.key)).id)
  const shared = await make('c.test', adminKey)
  expect((await remove(shared.id)).statusCode).toBe(404)
  expect((await remove(shared.id, adminKey)).statusCode).toBe(204)
})
