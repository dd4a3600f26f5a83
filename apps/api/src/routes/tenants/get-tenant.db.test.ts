/** GET /tenants/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the tenant without its key', async () => {
  const made = (
    await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'acme', weight: 3 } })
  ).json()
  const { key: _, ...shown } = made
  const answer = await api.ask('GET', `/tenants/${made.id}`, { key: adminKey })
  expect(answer.statusCode).toBe(200)
  expect(answer.json()).toEqual(shown)
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'GET', '/tenants/ten_x', 'operator'))

test.each([['ten_0192f0c1a2b37c4d8e5f60718293a4b5'], ['nonsense']])('404 for %s', async (id) => {
  expect((await api.ask('GET', `/tenants/${id}`, { key: adminKey })).statusCode).toBe(404)
})
