/** DELETE /routes/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const make = async (name: string, key = api.tenant.key) =>
  (await api.ask('POST', '/routes', { key, body: { name, kind: 'smarthost', host: 'relay.test' } })).json().id
const remove = (id: string, key = api.tenant.key) => api.ask('DELETE', `/routes/${id}`, { key })

test('204: gone, and its name is free', async () => {
  const id = await make('gone')
  expect((await remove(id)).statusCode).toBe(204)
  expect((await remove(id)).statusCode).toBe(404)
  expect(await make('gone')).not.toBe(id)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/routes/rou_x', 'manage'))

test('404 hides the routes of others, and a shared one is not a tenant’s to delete', async () => {
  await expectHidden(api, 'DELETE', (other) => `/routes/${other}`, await make('r', api.stranger.key))
  const shared = await make('shared', adminKey)
  expect((await remove(shared)).statusCode).toBe(404)
  expect((await remove(shared, adminKey)).statusCode).toBe(204)
})

describe('409 while it is named', () => {
  test('by a list', async () => {
    const id = await make('listed')
    const list = { stream: 'bulk', routes: [{ route: 'listed' }] }
    const made = await api.ask('POST', '/route-lists', { body: list })
    expect((await remove(id)).json()).toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining('1 lists'),
    })
    await api.ask('DELETE', `/route-lists/${made.json().id}`)
    expect((await remove(id)).statusCode).toBe(204)
  })

  test('by a key, also of a tenant that uses a shared one', async () => {
    const id = await make('keyed', adminKey)
    const key = (
      await api.ask('POST', '/keys', { body: { name: 'k', scopes: ['send'], route: 'keyed' } })
    ).json()
    expect((await remove(id, adminKey)).json()).toMatchObject({
      detail: expect.stringContaining('1 API keys'),
    })
    await api.ask('DELETE', `/keys/${key.id}`)
    expect((await remove(id, adminKey)).statusCode).toBe(204)
  })
})
