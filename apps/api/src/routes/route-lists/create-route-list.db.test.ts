/** POST /route-lists. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi({ delivery: 'smarthost' })
  for (const [name, key] of [
    ['one', api.tenant.key],
    ['foreign', api.stranger.key],
    ['all', adminKey],
  ] as const)
    await api.ask('POST', '/routes', { key, body: { name, kind: 'smarthost', host: 'relay.test' } })
  await api.ask('POST', '/routes', { key: adminKey, body: { name: 'staging', kind: 'capture' } })
})
afterAll(() => api.close())

const make = (body: object, key = api.tenant.key) => api.ask('POST', '/route-lists', { key, body })
const routes = [{ route: 'one' }]

describe('201', () => {
  test('for relays with a backup', async () => {
    const answer = await make({
      routes: [{ route: 'one', weight: 3 }, { route: 'all' }, { route: 'smarthost', backup: true }],
    })
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^rtl_/),
      domain: null,
      stream: null,
      routes: [
        { route: 'one', weight: 3, backup: false },
        { route: 'all', weight: 1, backup: false },
        { route: 'smarthost', weight: 1, backup: true },
      ],
      created_at: expect.any(String),
    })
  })

  test('for a stream of a domain, and for the inbox alone', async () => {
    const answer = await make({ domain: 'Mail.ACME.test', stream: 'bulk', routes: [{ route: 'staging' }] })
    expect(answer.json()).toMatchObject({ domain: 'mail.acme.test', stream: 'bulk' })
    expect((await make({ domain: 'b.test', routes: [{ route: 'capture' }] })).statusCode).toBe(201)
  })

  test('for the operator, of his own routes', async () => {
    expect((await make({ routes: [{ route: 'all' }] }, adminKey)).statusCode).toBe(201)
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['no routes', { routes: [] }, '/routes'],
    ['backups alone', { routes: [{ route: 'one', backup: true }] }, '/routes'],
    ['a route that does not exist', { routes: [{ route: 'one' }, { route: 'two' }] }, '/routes/1/route'],
    ['another tenant’s route', { routes: [{ route: 'foreign' }] }, '/routes/0/route'],
    ['a way that the installation has not', { routes: [{ route: 'mx' }] }, '/routes/0/route'],
    ['a route twice', { routes: [{ route: 'one' }, { route: 'one' }] }, '/routes/1/route'],
    [
      'the inbox as a backup',
      { routes: [{ route: 'one' }, { route: 'capture', backup: true }] },
      '/routes/1/route',
    ],
    ['weight 0', { routes: [{ route: 'one', weight: 0 }] }, '/routes/0/weight'],
    ['a stream that is none', { stream: 'x', routes }, '/stream'],
    ['a domain that is none', { domain: 'a b', routes }, '/domain'],
  ])('of %s', (_, body, path) => expectFault(api, 'POST', '/route-lists', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/route-lists', 'manage', { routes }))

test('409 for a second list of the same domain and stream', async () => {
  const list = { domain: 'twice.test', routes }
  expect((await make(list)).statusCode).toBe(201)
  expect((await make(list)).json()).toMatchObject({ status: 409, code: 'conflict' })
  expect((await make({ ...list, stream: 'bulk' })).statusCode).toBe(201)
})
