/** POST /domains. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = (body: object, more: object = {}) => api.ask('POST', '/domains', { body, ...more })

describe('201', () => {
  test('pending, with the record that proves who owns it', async () => {
    const answer = await add({ name: 'Mail.Acme.TEST.' })
    expect(answer.statusCode).toBe(201)
    const { records, ...domain } = answer.json()
    expect(domain).toEqual({
      id: expect.stringMatching(/^dom_[0-9a-f]{32}$/),
      name: 'mail.acme.test',
      status: 'pending',
      vouched: false,
      dkim: false,
      created_at: expect.stringMatching(/Z$/),
    })
    expect(records).toEqual([
      {
        purpose: 'ownership',
        type: 'TXT',
        name: '_valija.mail.acme.test',
        host: '_valija.mail',
        value: expect.stringMatching(/^valija-verification=[0-9a-f]{32}$/),
        priority: null,
        required: true,
        status: 'unchecked',
        found: [],
        fix: expect.stringContaining('_valija.mail.acme.test'),
      },
    ])
  })

  test('an international name becomes A-labels', async () => {
    expect((await add({ name: 'bücher.example' })).json()).toMatchObject({ name: 'xn--bcher-kva.example' })
  })

  test('two tenants may claim one name; their tokens differ', async () => {
    const [one, other] = [
      await add({ name: 'both.test' }),
      await add({ name: 'both.test' }, { key: api.stranger.key }),
    ]
    expect([one.statusCode, other.statusCode]).toEqual([201, 201])
    expect(one.json().records[0].value).not.toBe(other.json().records[0].value)
  })

  test('verified at once when the operator vouches for it: the tenant may send from it', async () => {
    const body = { name: 'vouched.test', vouched: true, dkim: true }
    const answer = await add(body, asOperator(api.stranger.id))
    expect(answer.json()).toMatchObject({
      status: 'verified',
      vouched: true,
      dkim: true,
      records: [{ required: false }],
    })
    const mail = { from: 'a@vouched.test', to: 'b@example.test', subject: 's', text: 't' }
    expect((await api.ask('POST', '/send', { key: api.stranger.key, body: mail })).statusCode).toBe(202)
  })
})

describe('400', () => {
  test.each([
    ['no name', {}],
    ['a single label', { name: 'localhost' }],
    ['a space', { name: 'a b.test' }],
    ['an address', { name: '[127.0.0.1]' }],
    ['a public suffix', { name: 'co.uk' }],
    ['a private public suffix', { name: 'GitHub.io' }],
    ['U+0000', { name: 'a\0.test' }],
  ])('for %s', (_, body) => expectFault(api, 'POST', '/domains', body, '/name'))

  test('for a signature that nobody vouches for', () =>
    expectFault(
      api,
      'POST',
      '/domains',
      { name: 'x.test', dkim: true },
      '/dkim',
      asOperator(api.stranger.id),
    ))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/domains', 'manage', { name: 'x.test' }))

test.each([{ vouched: true }, { dkim: true }, { vouched: false }])(
  '403 for %j from a tenant',
  async (fields) => {
    const answer = await add({ name: 'self.test', ...fields })
    expect(answer.json()).toMatchObject({ status: 403, code: 'insufficient_scope' })
  },
)

describe('409', () => {
  test('for a name that the tenant has', async () => {
    await add({ name: 'twice.test' })
    expect((await add({ name: 'TWICE.test' })).json()).toMatchObject({ status: 409, code: 'conflict' })
    const vouched = await add({ name: 'twice.test', vouched: true }, asOperator(api.tenant.id))
    expect(vouched.statusCode).toBe(409)
  })

  test('when the operator vouches twice for one name, also at the same time', async () => {
    const vouch = (tenantId: string) => add({ name: 'one.test', vouched: true }, asOperator(tenantId))
    const answers = await Promise.all([vouch(api.tenant.id), vouch(api.stranger.id)])
    expect(answers.map((answer) => answer.statusCode).sort()).toEqual([201, 409])
  })
})
