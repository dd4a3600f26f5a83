/** POST /keys. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from './refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

describe('201', () => {
  test('gives the key once, with all that it is bound to in canonical form', async () => {
    const expires_at = inAnHour()
    const answer = await api.ask('POST', '/keys', {
      body: {
        name: 'shop',
        scopes: ['send', 'read'],
        domains: ['ACME.test.', 'bücher.example'],
        networks: ['192.0.2.0/24', '2001:DB8::/32', '198.51.100.7'],
        route: 'smarthost',
        recipients: ['Ann@Example.test', '@Example.COM'],
        expires_at,
      },
    })
    expect(answer.statusCode).toBe(201)
    const { key, id, created_at, ...rest } = answer.json()
    expect(key).toMatch(/^vlj_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/)
    expect(id).toMatch(/^key_[0-9a-f]{32}$/)
    expect(created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(rest).toEqual({
      limits: {},
      name: 'shop',
      hint: key.slice(0, 8),
      scopes: ['send', 'read'],
      domains: ['acme.test', 'xn--bcher-kva.example'],
      networks: ['192.0.2.0/24', '2001:db8::/32', '198.51.100.7'],
      route: 'smarthost',
      recipients: ['ann@example.test', '@example.com'],
      expires_at,
    })
    const shown = await api.ask('GET', `/keys/${id}`)
    expect(shown.body).not.toContain(key)
    expect(shown.json()).toEqual({ id, created_at, ...rest })
  })

  test('needs a name and scopes only, and the key works at once', async () => {
    const answer = await api.ask('POST', '/keys', { body: { name: 'n', scopes: ['read'] } })
    expect(answer.json()).toMatchObject({
      domains: [],
      networks: [],
      route: null,
      recipients: [],
      expires_at: null,
    })
    expect((await api.ask('GET', '/keys', { key: answer.json().key })).statusCode).toBe(200)
  })

  test('leaves nothing of the key in the database but its hash and hint', async () => {
    const { key } = (await api.ask('POST', '/keys', { body: { name: 'n', scopes: ['read'] } })).json()
    const rows = await api.foundation.database.engine.query(
      'SELECT api_keys::text AS row FROM valija.api_keys',
    )
    for (const { row } of rows.rows) expect(row).not.toContain(key.slice(8))
  })

  test('for the operator who acts for the tenant', async () => {
    const body = { name: 'n', scopes: ['send'] }
    const answer = await api.ask('POST', '/keys', { ...asOperator(api.stranger.id), body })
    expect(answer.statusCode).toBe(201)
    expect((await api.ask('GET', '/keys', { key: api.stranger.key })).body).toContain(answer.json().id)
  })
})

describe('400', () => {
  test.each([
    ['no name', { scopes: ['send'] }, '/name'],
    ['no scopes', { name: 'n' }, '/scopes'],
    ['an empty list of scopes', { name: 'n', scopes: [] }, '/scopes'],
    ['an unknown scope', { name: 'n', scopes: ['root'] }, '/scopes/0'],
    ['an unknown field', { name: 'n', scopes: ['send'], tenant: 'x' }, '/tenant'],
    ['U+0000 in the name', { name: 'a\0b', scopes: ['send'] }, '/name'],
    ['a domain that is none', { name: 'n', scopes: ['send'], domains: ['ok.test', 'no dot'] }, '/domains/1'],
    ['a prefix that is too long', { name: 'n', scopes: ['send'], networks: ['192.0.2.0/33'] }, '/networks/0'],
    ['a network that is a name', { name: 'n', scopes: ['send'], networks: ['localhost'] }, '/networks/0'],
    ['a route that does not exist', { name: 'n', scopes: ['send'], route: 'mian' }, '/route'],
    ['a recipient that is none', { name: 'n', scopes: ['send'], recipients: ['@'] }, '/recipients/0'],
    [
      'an expiry in the past',
      { name: 'n', scopes: ['send'], expires_at: '2020-01-01T00:00:00Z' },
      '/expires_at',
    ],
    ['an expiry that is no time', { name: 'n', scopes: ['send'], expires_at: 'soon' }, '/expires_at'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/keys', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/keys', 'manage', { name: 'n', scopes: ['send'] }))

describe('403 for a key that could do more than the one that asks', () => {
  const bounds = {
    domains: ['acme.test'],
    networks: ['127.0.0.0/8'],
    route: 'smarthost',
    recipients: ['@acme.test', 'ann@b.test'],
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  }
  let key: string
  beforeAll(async () => {
    const made = await api.ask('POST', '/keys', {
      body: { name: 'bound', scopes: ['manage', 'send'], ...bounds },
    })
    key = made.json().key
  })
  const make = (fields: object) =>
    api.ask('POST', '/keys', { key, body: { name: 'child', scopes: ['send'], ...bounds, ...fields } })

  test.each([
    ['scopes', { scopes: ['read'] }, 'insufficient_scope'],
    ['domains', { domains: ['acme.test', 'other.test'] }, 'key_restricted'],
    ['no domains', { domains: [] }, 'key_restricted'],
    ['networks', { networks: ['0.0.0.0/0'] }, 'key_restricted'],
    ['another network', { networks: ['10.0.0.1'] }, 'key_restricted'],
    ['IPv6 networks', { networks: ['::/0'] }, 'key_restricted'],
    ['no networks', { networks: [] }, 'key_restricted'],
    ['route', { route: 'capture' }, 'key_restricted'],
    ['no route', { route: null }, 'key_restricted'],
    ['recipients', { recipients: ['bob@b.test'] }, 'key_restricted'],
    ['a recipient whose domain only ends alike', { recipients: ['bob@notacme.test'] }, 'key_restricted'],
    ['no recipients', { recipients: [] }, 'key_restricted'],
    ['a later expiry', { expires_at: '2099-01-01T00:00:00Z' }, 'key_restricted'],
    ['no expiry', { expires_at: null }, 'key_restricted'],
  ])('in %s', async (_, fields, code) => {
    expect((await make(fields)).json()).toMatchObject({ status: 403, code })
  })

  test('but 201 for one that can do as much or less', async () => {
    expect((await make({})).statusCode).toBe(201)
    const narrower = { networks: ['127.0.0.1', '127.1.0.0/16'], recipients: ['bob@acme.test', 'ANN@b.test'] }
    expect((await make(narrower)).statusCode).toBe(201)
  })
})
