/** POST /domains. */
import { maxDomains } from '@valija/store'
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
  test('pending, with the records that prove who owns it and publish its keys', async () => {
    const answer = await add({ name: 'Mail.Acme.TEST.' })
    expect(answer.statusCode).toBe(201)
    const { records, ...domain } = answer.json()
    expect(domain).toEqual({
      id: expect.stringMatching(/^dom_[0-9a-f]{32}$/),
      name: 'mail.acme.test',
      status: 'pending',
      vouched: false,
      dkim: false,
      dkim_algorithms: ['rsa', 'ed25519'],
      return_path_host: 'bounce.mail.acme.test',
      verified_at: null,
      failing_since: null,
      sending_stops_at: null,
      summary: expect.stringContaining('not verified yet; its records have not been looked for'),
      notes: [expect.stringContaining('no VALIJA_BOUNCE_DOMAIN')],
      created_at: expect.stringMatching(/Z$/),
    })
    const never = { status: 'unchecked', found: [], fault: null, checked_at: null, resolver: null }
    expect(records).toEqual([
      {
        purpose: 'ownership',
        type: 'TXT',
        name: '_valija.mail.acme.test',
        host: '_valija.mail',
        value: expect.stringMatching(/^valija-verification=[0-9a-f]{32}$/),
        priority: null,
        required: true,
        state: null,
        ...never,
        fix: expect.stringContaining('_valija.mail.acme.test'),
      },
      {
        purpose: 'dkim',
        type: 'TXT',
        name: expect.stringMatching(/^vlj[a-z0-9]{6}r\._domainkey\.mail\.acme\.test$/),
        host: expect.stringMatching(/^vlj[a-z0-9]{6}r\._domainkey\.mail$/),
        value: expect.stringMatching(/^v=DKIM1; k=rsa; p=MIIBI[A-Za-z0-9+/]{387}$/),
        priority: null,
        required: true,
        state: 'active',
        ...never,
        fix: expect.stringContaining('Publish a TXT record at vlj'),
      },
      {
        ...records[1],
        name: expect.stringMatching(/^vlj[a-z0-9]{6}e\._domainkey\.mail\.acme\.test$/),
        host: expect.stringMatching(/^vlj[a-z0-9]{6}e\._domainkey\.mail$/),
        value: expect.stringMatching(/^v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=$/),
        fix: expect.stringContaining('Publish a TXT record at vlj'),
      },
      {
        purpose: 'dmarc',
        type: 'TXT',
        name: '_dmarc.mail.acme.test',
        host: '_dmarc.mail',
        value: 'v=DMARC1; p=none',
        priority: null,
        required: false,
        state: null,
        ...never,
        fix: expect.stringContaining('Publish a TXT record at _dmarc.mail.acme.test'),
      },
    ])
  })

  test('only the keys that were asked for, RSA first', async () => {
    const purposes = async (name: string, algorithms: string[]) => {
      const answer = await add({ name, dkim_algorithms: algorithms })
      const { records, dkim_algorithms } = answer.json()
      const values = records
        .slice(1, -1)
        .map((record: { value: string }) => /k=(\w+)/.exec(record.value)?.[1])
      expect(values).toEqual(dkim_algorithms)
      return values
    }
    expect(await purposes('one-key.test', ['ed25519'])).toEqual(['ed25519'])
    expect(await purposes('two-keys.test', ['ed25519', 'rsa'])).toEqual(['rsa', 'ed25519'])
  })

  test('no private key is in the answer, nor readable in the database', async () => {
    const answer = await add({ name: 'secret.test' })
    const stored = await api.foundation.database.engine.query(
      `SELECT k.* FROM valija.dkim_keys AS k JOIN valija.domains AS d ON d.id = k.domain_id WHERE d.name = 'secret.test'`,
    )
    expect(stored.rows).toHaveLength(2)
    for (const row of stored.rows) {
      expect(answer.body).not.toContain(row.private_key.toString('base64'))
      // PKCS #8 holds the name of its algorithm, tag and length before it (RFC 8017 §A.1, RFC 8410 §3).
      for (const oid of ['06092a864886f70d010101', '06032b6570']) {
        expect(row.private_key.toString('hex')).not.toContain(oid)
      }
    }
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
    })
    expect(answer.json().records.map((record: { required: boolean }) => record.required)).toEqual([
      false,
      true,
      true,
      false,
    ])
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
    ['a name that leaves no room for its records', { name: `${'a.'.repeat(115)}test` }],
  ])('for %s', (_, body) => expectFault(api, 'POST', '/domains', body, '/name'))

  test.each([
    ['no algorithm', [], '/dkim_algorithms'],
    ['an algorithm twice', ['rsa', 'rsa'], '/dkim_algorithms'],
    ['an unknown algorithm', ['rsa', 'dsa'], '/dkim_algorithms/1'],
  ])('for %s', (_, algorithms, path) =>
    expectFault(api, 'POST', '/domains', { name: 'x.test', dkim_algorithms: algorithms }, path),
  )

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
    expect((await add({ name: 'TWICE.test' })).json()).toMatchObject({
      status: 409,
      code: 'conflict',
      title: 'There is one already',
    })
    const vouched = await add({ name: 'twice.test', vouched: true }, asOperator(api.tenant.id))
    expect(vouched.statusCode).toBe(409)
  })

  test('when the operator vouches twice for one name, also at the same time', async () => {
    const vouch = (tenantId: string) => add({ name: 'one.test', vouched: true }, asOperator(tenantId))
    const answers = await Promise.all([vouch(api.tenant.id), vouch(api.stranger.id)])
    expect(answers.map((answer) => answer.statusCode).sort()).toEqual([201, 409])
  })

  test('when a tenant has as many as it may', async () => {
    const { engine } = api.foundation.database
    await engine.query(
      `INSERT INTO valija.domains (id, tenant_id, name, token)
       SELECT gen_random_uuid(), $1, n || '.example', 't' FROM generate_series(1, $2) AS n`,
      [api.stranger.id, maxDomains],
    )
    for (const more of [{}, { vouched: true }]) {
      const answer = await add({ name: 'more.test', ...more }, asOperator(api.stranger.id))
      expect(answer.json()).toMatchObject({
        status: 409,
        code: 'conflict',
        detail: expect.stringContaining(`${maxDomains} domains`),
      })
    }
  })
})
