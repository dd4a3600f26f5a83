/** PATCH /route-lists/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const routes = [{ route: 'capture' }]
const make = async (domain: string, key = api.tenant.key) =>
  (await api.ask('POST', '/route-lists', { key, body: { domain, routes } })).json()

test('200: other routes', async () => {
  const made = await make('a.test')
  await api.ask('POST', '/routes', { body: { name: 'r', kind: 'smarthost', host: 'relay.test' } })
  const answer = await api.ask('PATCH', `/route-lists/${made.id}`, { body: { routes: [{ route: 'r' }] } })
  expect(answer.json()).toEqual({ ...made, routes: [{ route: 'r', weight: 1, backup: false }] })
})

test('400 names the place', async () => {
  const url = `/route-lists/${(await make('d.test')).id}`
  await expectFault(api, 'PATCH', url, { routes: [{ route: 'nowhere' }] }, '/routes/0/route')
  await expectFault(api, 'PATCH', url, { routes, domain: 'e.test' }, '/domain')
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/route-lists/rtl_x', 'manage', { routes }))

test('404 hides the lists of others', async () => {
  const { id } = await make('b.test', api.stranger.key)
  await expectHidden(api, 'PATCH', (other) => `/route-lists/${other}`, id, { routes })
  const shared = await make('c.test', adminKey)
  expect((await api.ask('PATCH', `/route-lists/${shared.id}`, { body: { routes } })).statusCode).toBe(404)
})
