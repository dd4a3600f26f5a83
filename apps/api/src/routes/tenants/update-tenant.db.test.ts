/** PATCH /tenants/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
let id: string
beforeAll(async () => {
  api = await openTestApi()
  id = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'acme' } })).json().id
})
afterAll(() => api.close())

const change = (body: object, of = id) => api.ask('PATCH', `/tenants/${of}`, { key: adminKey, body })

test('200: changes what is given and nothing else', async () => {
  expect((await change({ weight: 7 })).json()).toMatchObject({ id, name: 'acme', weight: 7, limits: {} })
  expect((await change({ name: 'acme 2' })).json()).toMatchObject({ name: 'acme 2', weight: 7 })
  expect((await change({ at_most_once: true })).json()).toMatchObject({ name: 'acme 2', at_most_once: true })
  expect((await change({})).json()).toMatchObject({ name: 'acme 2', weight: 7, at_most_once: true })
})

test('200: a limit of its own is taken away by null', async () => {
  expect((await change({ limits: { queued: 5 } })).json()).toMatchObject({ limits: { queued: 5 } })
  expect((await change({ limits: { queued: null } })).json().limits).toEqual({})
})

test('400 names what is wrong', async () => {
  await expectFault(api, 'PATCH', `/tenants/${id}`, { weight: 1.5 }, '/weight', { key: adminKey })
  const unclear = { at_most_once: 'yes' }
  await expectFault(api, 'PATCH', `/tenants/${id}`, unclear, '/at_most_once', { key: adminKey })
  await expectFault(api, 'PATCH', `/tenants/${id}`, { key: 'x' }, '/key', { key: adminKey })
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'PATCH', `/tenants/${id}`, 'operator', {}))

test('404 for an unknown one', async () => {
  expect((await change({}, 'ten_0192f0c1a2b37c4d8e5f60718293a4b5')).statusCode).toBe(404)
})

test('409 for a name that is taken', async () => {
  expect((await change({ name: 'stranger' })).json()).toMatchObject({ status: 409, code: 'conflict' })
})
