/** GET /routes/:id. */

import { parseId } from '@valija/core'
import { markRouteDown } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const body = { name: 'r', kind: 'smarthost', host: 'relay.test' }

test('200: as it was made', async () => {
  const made = (await api.ask('POST', '/routes', { body })).json()
  expect((await api.ask('GET', `/routes/${made.id}`)).json()).toEqual(made)
})

test('200 says since when and why it cannot be used', async () => {
  const { id } = (await api.ask('POST', '/routes', { body: { ...body, name: 'down' } })).json()
  await markRouteDown(api.foundation.database.engine, {
    route: parseId('route', id)!,
    condition: 'down',
    reply: 'connect ECONNREFUSED',
    probeInMs: 1_000,
    told: [],
    events: [],
  })
  expect((await api.ask('GET', `/routes/${id}`)).json()).toMatchObject({
    down_since: expect.any(String),
    down_reply: 'connect ECONNREFUSED',
  })
})

test('200 for a shared one, without where it leads', async () => {
  const { id } = (await api.ask('POST', '/routes', { key: adminKey, body: { ...body, name: 's' } })).json()
  expect((await api.ask('GET', `/routes/${id}`)).json()).toMatchObject({ shared: true, host: null })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/routes/rou_x', 'read'))

test('404 hides the routes of other tenants', async () => {
  const { id } = (await api.ask('POST', '/routes', { key: api.stranger.key, body })).json()
  await expectHidden(api, 'GET', (other) => `/routes/${other}`, id)
  expect((await api.ask('GET', `/routes/${id}`, { key: adminKey })).statusCode).toBe(404)
})
