/** POST /tenants. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const create = (body: object) => api.ask('POST', '/tenants', { key: adminKey, body })

describe('201', () => {
  test('gives the tenant and a key with all scopes, which works at once', async () => {
    const answer = await create({ name: 'acme' })
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^ten_[0-9a-f]{32}$/),
      name: 'acme',
      weight: 1,
      limits: {},
      at_most_once: false,
      is_default: false,
      status: 'active',
      suspended_at: null,
      bulk_paused: false,
      retention_days: null,
      redact_after_days: null,
      bulk_pause: null,
      created_at: expect.stringMatching(/Z$/),
      key: expect.stringMatching(/^vlj_/),
    })
    const keys = await api.ask('GET', '/keys', { key: answer.json().key })
    expect(keys.json().data).toMatchObject([{ scopes: ['send', 'read', 'read:content', 'manage'] }])
  })

  test('takes at_most_once', async () => {
    expect((await create({ name: 'once', at_most_once: true })).json()).toMatchObject({ at_most_once: true })
  })

  test('takes a weight and a limit', async () => {
    expect((await create({ name: 'heavy', weight: 1000, limits: { queued: 5 } })).json()).toMatchObject({
      weight: 1000,
      limits: { queued: 5 },
    })
  })

  test('the new tenant may send from no domain', async () => {
    const { key } = (await create({ name: 'fresh' })).json()
    const body = { from: 'a@fresh.test', to: 'b@example.test', subject: 's', text: 't' }
    expect((await api.ask('POST', '/send', { key, body })).json()).toMatchObject({
      code: 'domain_not_verified',
    })
  })
})

describe('400', () => {
  test.each([
    ['no name', {}, '/name'],
    ['an empty name', { name: '' }, '/name'],
    ['a name that is too long', { name: 'x'.repeat(129) }, '/name'],
    ['weight 0', { name: 'n', weight: 0 }, '/weight'],
    ['weight 1001', { name: 'n', weight: 1001 }, '/weight'],
    ['a weight in quotation marks', { name: 'n', weight: '5' }, '/weight'],
    ['a limit that is unknown', { name: 'n', limits: { mails: 1 } }, '/limits/mails'],
    ['a limit of nothing', { name: 'n', limits: { queued: 0 } }, '/limits/queued'],
    ['an unknown field', { name: 'n', is_default: true }, '/is_default'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/tenants', body, path, { key: adminKey }))
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'POST', '/tenants', 'operator', { name: 'n' }))

test('409 when the name is taken', async () => {
  expect((await create({ name: 'twice' })).statusCode).toBe(201)
  expect((await create({ name: 'twice' })).json()).toMatchObject({ status: 409, code: 'conflict' })
})
