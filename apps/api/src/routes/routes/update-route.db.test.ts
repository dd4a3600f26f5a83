/** PATCH /routes/:id. */
import { parseId } from '@valija/core'
import { pauseRefusedRoute, readRoutePlan } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

let count = 0
const make = async (fields: object = {}, as = {}) => {
  const body = {
    name: `r${++count}`,
    kind: 'smarthost',
    host: 'relay.test',
    user: 'u',
    password: 'p',
    ...fields,
  }
  return (await api.ask('POST', '/routes', { ...as, body })).json()
}
const change = (id: string, body: object, as = {}) => api.ask('PATCH', `/routes/${id}`, { ...as, body })
const stored = async (id: string) => {
  const { routes } = await readRoutePlan(api.foundation.database.engine)
  return routes.find((route) => route.id === parseId('route', id))!
}
const refuse = async (id: string) =>
  pauseRefusedRoute(api.foundation.database.engine, {
    route: parseId('route', id)!,
    password: (await stored(id)).password,
    reply: '535 5.7.8 no',
    told: [api.tenant.id],
    events: [],
  })

describe('200', () => {
  test('changes what is given and nothing else', async () => {
    const made = await make()
    expect((await change(made.id, {})).json()).toEqual(made)
    expect((await change(made.id, { rewrites_ids: true })).json()).toEqual({ ...made, rewrites_ids: true })
    const fixed = { return_path: 'fixed', return_path_address: 'a@b.test' }
    expect((await change(made.id, fixed)).json()).toMatchObject(fixed)
    expect((await change(made.id, { return_path: 'from' })).json()).toMatchObject({
      return_path_address: null,
    })
    expect((await change(made.id, { user: null, password: null })).json()).toMatchObject({
      has_password: false,
    })
  })

  test('pauses for a time, and ends the pause', async () => {
    const { id } = await make()
    const until = new Date(Date.now() + 3_600_000).toISOString()
    expect((await change(id, { state: 'paused', paused_until: until })).json()).toMatchObject({
      state: 'paused',
      paused_reason: 'manual',
      paused_until: until,
    })
    expect((await change(id, { state: 'enabled' })).json()).toMatchObject({
      state: 'enabled',
      paused_reason: null,
      paused_until: null,
    })
  })

  test('another password ends the pause of a refused login; whoever was told is told', async () => {
    const { id, name } = await make()
    expect(await refuse(id)).toMatchObject({ isChanged: true })
    expect((await api.ask('GET', `/routes/${id}`)).json()).toMatchObject({
      state: 'paused',
      paused_reason: 'login_refused',
      paused_reply: '535 5.7.8 no',
    })
    expect((await change(id, { rewrites_ids: true })).json()).toMatchObject({ state: 'paused' })
    expect((await change(id, { password: 'other' })).json()).toMatchObject({
      state: 'enabled',
      down_since: null,
    })
    const events = await api.events('?type=route.recovered')
    expect(events.data.at(-1)).toMatchObject({ data: { route: name, kind: 'smarthost' } })
  })

  test('a host that a tenant gives is guarded from then on', async () => {
    const { id } = await make({}, asOperator(api.tenant.id))
    expect((await stored(id)).isGuarded).toBe(false)
    await change(id, { rewrites_ids: true })
    expect((await stored(id)).isGuarded).toBe(false)
    expect((await change(id, { host: '10.0.0.1', password: 'p' })).statusCode).toBe(200)
    expect((await stored(id)).isGuarded).toBe(true)
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['another name', { name: 'other' }, '/name'],
    ['another kind', { kind: 'mx' }, '/kind'],
    ['a port that is none', { port: 70_000 }, '/port'],
    ['a time without a pause', { paused_until: '2099-01-01T00:00:00Z' }, '/paused_until'],
    ['a pause that is over', { state: 'paused', paused_until: '2020-01-01T00:00:00Z' }, '/paused_until'],
    ['no user', { user: null }, '/user'],
  ])('of %s', async (_, body, path) => expectFault(api, 'PATCH', `/routes/${(await make()).id}`, body, path))

  test.each([{ host: 'evil.test' }, { port: 2525 }, { tls: 'off' }])(
    'of a password that would go to %j by itself',
    async (body) => expectFault(api, 'PATCH', `/routes/${(await make()).id}`, body, '/password'),
  )
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/routes/rou_x', 'manage', {}))

test('403 for a pool that a tenant asks for', async () => {
  expect((await change((await make()).id, { pool: 'fast' })).statusCode).toBe(403)
})

test('404 hides the routes of others, and a shared one is not a tenant’s to change', async () => {
  const { id } = await make({}, { key: api.stranger.key })
  await expectHidden(api, 'PATCH', (other) => `/routes/${other}`, id, {})
  const shared = await make({}, { key: adminKey })
  expect((await change(shared.id, { state: 'paused' })).statusCode).toBe(404)
  expect((await change(shared.id, { state: 'paused' }, { key: adminKey })).statusCode).toBe(200)
})
