/** POST /routes. */
import { parseId } from '@valija/core'
import { openRoutePassword } from '@valija/flows'
import { readRoutePlan } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const relay = { kind: 'smarthost', host: 'Relay.Example.com' }
const make = (fields: object, as = {}) => api.ask('POST', '/routes', { ...as, body: { ...relay, ...fields } })

describe('201', () => {
  test('for a relay, with the usual port, TLS mode and return path', async () => {
    const answer = await make({ name: 'relay-1' })
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^rou_/),
      name: 'relay-1',
      kind: 'smarthost',
      shared: false,
      host: 'relay.example.com',
      port: 587,
      tls: 'opportunistic',
      user: null,
      has_password: false,
      return_path: 'verp',
      return_path_address: null,
      rewrites_ids: false,
      pool: null,
      state: 'enabled',
      paused_reason: null,
      paused_reply: null,
      paused_until: null,
      down_since: null,
      down_reply: null,
      created_at: expect.any(String),
    })
  })

  test.each([
    [{ port: 465 }, { port: 465, tls: 'implicit' }],
    [{ tls: 'implicit' }, { port: 465, tls: 'implicit' }],
    [
      { port: 25, tls: 'off' },
      { port: 25, tls: 'off' },
    ],
    [{ host: '192.0.2.1' }, { host: '192.0.2.1' }],
    [{ host: '2001:DB8::1' }, { host: '2001:db8::1' }],
    [
      { return_path: 'fixed', return_path_address: 'bounces@Acme.test' },
      { return_path: 'fixed', return_path_address: 'bounces@acme.test' },
    ],
  ])('for %j', async (fields, shown) => {
    const name = `r-${Math.random().toString(36).slice(2)}`
    const answer = await make({ name, ...fields })
    expect([answer.statusCode, answer.json()]).toMatchObject([201, shown])
  })

  test('keeps the password sealed for this route, and shows it to nobody', async () => {
    const answer = await make({ name: 'secret', user: 'u', password: 'the password' })
    expect(answer.body).not.toContain('the password')
    expect(answer.json()).toMatchObject({ user: 'u', has_password: true })
    const id = parseId('route', answer.json().id)!
    const { routes } = await readRoutePlan(api.foundation.database.engine)
    const { password, isGuarded } = routes.find((route) => route.id === id)!
    expect(password!.includes('the password')).toBe(false)
    expect(openRoutePassword(api.foundation.sealer, id, password!)).toBe('the password')
    expect(() => openRoutePassword(api.foundation.sealer, api.tenant.id, password!)).toThrow(
      'not a sealed secret',
    )
    expect(isGuarded).toBe(true)
  })

  test('for the operator: shared, of any kind, and exempt from the guard', async () => {
    const answer = await make({ name: 'shared', pool: 'fast' }, { key: adminKey })
    expect(answer.json()).toMatchObject({ shared: true, pool: 'fast' })
    const mx = { key: adminKey, body: { name: 'direct', kind: 'mx' } }
    expect((await api.ask('POST', '/routes', mx)).json()).toMatchObject({ kind: 'mx', host: null, tls: null })
    expect((await make({ name: 'for-one' }, asOperator(api.tenant.id))).json()).toMatchObject({
      shared: false,
    })
    const { routes } = await readRoutePlan(api.foundation.database.engine)
    const guarded = routes.filter((route) => ['shared', 'direct', 'for-one'].includes(route.name))
    expect(guarded.map((route) => route.isGuarded)).toEqual([false, false, false])
  })

  test('for a name that another tenant has', async () => {
    expect((await make({ name: 'same' })).statusCode).toBe(201)
    expect((await make({ name: 'same' }, { key: api.stranger.key })).statusCode).toBe(201)
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['a name of the installation’s own', { ...relay, name: 'smarthost' }, '/name'],
    ['a name that is none', { ...relay, name: 'Relay 1' }, '/name'],
    ['no name', relay, '/name'],
    ['an unknown kind', { ...relay, name: 'n', kind: 'ftp' }, '/kind'],
    ['no host', { kind: 'smarthost', name: 'n' }, '/host'],
    ['a URL as host', { ...relay, name: 'n', host: 'smtp://relay.test' }, '/host'],
    ['port 0', { ...relay, name: 'n', port: 0 }, '/port'],
    ['an unknown TLS mode', { ...relay, name: 'n', tls: 'ssl' }, '/tls'],
    ['a user without password', { ...relay, name: 'n', user: 'u' }, '/password'],
    ['a password without user', { ...relay, name: 'n', password: 'p' }, '/user'],
    ['fixed without address', { ...relay, name: 'n', return_path: 'fixed' }, '/return_path_address'],
    [
      'an address that is none',
      { ...relay, name: 'n', return_path: 'fixed', return_path_address: 'x' },
      '/return_path_address',
    ],
    [
      'an address without fixed',
      { ...relay, name: 'n', return_path_address: 'a@b.test' },
      '/return_path_address',
    ],
    ['an unknown field', { ...relay, name: 'n', state: 'paused' }, '/state'],
  ])('of %s', (_, body, path) => expectFault(api, 'POST', '/routes', body, path))

  test.each<[string, object, string]>([
    ['a host of mx', { name: 'n', kind: 'mx', host: 'relay.test' }, '/host'],
    ['bounces of mx that go elsewhere', { name: 'n', kind: 'mx', return_path: 'from' }, '/return_path'],
  ])('of %s', (_, body, path) => expectFault(api, 'POST', '/routes', body, path, { key: adminKey }))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/routes', 'manage', { ...relay, name: 'n' }))

test.each([{ kind: 'mx', host: undefined }, { kind: 'capture', host: undefined }, { pool: 'fast' }])(
  '403 for a tenant that asks for %j',
  async (fields) => {
    expect((await make({ name: 'n', ...fields })).json()).toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    })
  },
)

test('409 for a name that the tenant or the operator has', async () => {
  await make({ name: 'taken' })
  await make({ name: 'taken-by-all' }, { key: adminKey })
  for (const name of ['taken', 'taken-by-all'])
    expect((await make({ name })).json()).toMatchObject({ status: 409, code: 'conflict' })
  expect((await make({ name: 'taken-by-all' }, { key: adminKey })).statusCode).toBe(409)
})
