/** GET /audit, and that every action of the management is in it. */
import { auditAction } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isAudited } from '../../audit-requests.ts'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'

interface Entry {
  action: string
  target: string | null
  fields: string[]
  count: number
  actor: { type: string; key_id: string | null; key_name: string | null }
  client_ip: string | null
  tenant_id: string | null
}

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const read = async (query = '', how: object = {}): Promise<Entry[]> =>
  (await api.ask('GET', `/audit?limit=100&${query}`, how)).json().data
const tenantId = () => `ten_${api.tenant.id.replaceAll('-', '')}`

describe('200', () => {
  test('a change says who did it, from where, to what, and which fields, and none of their values', async () => {
    const { id } = (
      await api.ask('POST', '/webhooks', { body: { url: 'https://a.test', events: ['*'] } })
    ).json()
    await api.ask('PATCH', `/webhooks/${id}`, { body: { url: 'https://secret.test' } })
    await api.ask('DELETE', `/webhooks/${id}`)
    const entries = await read(`target=${id}`)
    expect(entries.map(({ action }) => action)).toEqual([
      'webhook.deleted',
      'webhook.changed',
      'webhook.created',
    ])
    expect(entries[1]).toMatchObject({
      fields: ['url'],
      count: 1,
      client_ip: '127.0.0.1',
      tenant_id: tenantId(),
      actor: { type: 'key', key_id: expect.stringMatching(/^key_/), key_name: expect.any(String) },
    })
    expect(JSON.stringify(entries)).not.toContain('secret.test')
  })

  test('what the operator does for a tenant, and to it, the tenant sees; what is his alone only he', async () => {
    const key = (
      await api.ask('POST', '/keys', {
        ...asOperator(api.tenant.id),
        body: { name: 'by him', scopes: ['read'] },
      })
    ).json()
    await api.ask('PATCH', `/tenants/${tenantId()}`, { key: adminKey, body: { weight: 2 } })
    const source = { address: '192.0.2.9', ehlo_name: 'a.test' }
    const made = (await api.ask('POST', '/source-ips', { key: adminKey, body: source })).json()
    expect(await read('key=operator')).toEqual([
      expect.objectContaining({ action: 'tenant.changed', target: tenantId(), fields: ['weight'] }),
      expect.objectContaining({
        action: 'key.created',
        target: key.id,
        actor: expect.objectContaining({ type: 'operator' }),
        client_ip: null,
      }),
    ])
    expect(await read(`target=${key.id}`, { key: adminKey })).toEqual([
      expect.objectContaining({ client_ip: '127.0.0.1' }),
    ])
    expect(await read(`target=${made.id}`)).toEqual([])
    expect(await read(`target=${made.id}`, { key: adminKey })).toEqual([
      expect.objectContaining({ action: 'source.created', tenant_id: null }),
    ])
  })

  test('another tenant sees nothing of it', async () => {
    await api.ask('POST', '/suppressions', { body: { email: 'mine@b.test' } })
    expect(await read('action=suppression.created')).toHaveLength(1)
    expect(await read('action=suppression.created', { key: api.stranger.key })).toEqual([])
  })

  test('what was refused is not in it, and what changed nothing is', async () => {
    const { id } = (await api.ask('POST', '/domains', { body: { name: 'audited.test' } })).json()
    expect((await api.ask('POST', '/domains', { body: { name: 'audited.test' } })).statusCode).toBe(409)
    expect(await read('action=domain.created')).toHaveLength(1)
    await api.ask('PATCH', `/domains/${id}`, { body: {} })
    expect(await read(`action=domain.changed&target=${id}`)).toEqual([
      expect.objectContaining({ fields: [], count: 0 }),
    ])
    await api.ask('DELETE', '/inbox')
    expect(await read('action=inbox.cleared')).toEqual([expect.objectContaining({ count: 1 })])
  })

  test('many rows of one statement are one entry with their number', async () => {
    const lines = Array.from({ length: 30 }, (_, i) => `many${i}@b.test`).join('\n')
    const answer = await api.ask('POST', '/suppressions/import', {
      headers: { 'content-type': 'text/csv' },
      body: `email\n${lines}\n`,
    })
    expect(answer.statusCode).toBe(200)
    expect(await read('action=suppressions.imported')).toEqual([
      expect.objectContaining({ target: null, count: 30 }),
    ])
  })

  test('narrowed by time and key, page by page', async () => {
    const before = new Date().toISOString()
    expect(await read(`after=2100-01-01T00:00:00Z`)).toEqual([])
    expect((await read(`before=${before}`)).length).toBeGreaterThan(0)
    const [first] = await read()
    expect((await read(`key=${first?.actor.key_id}`)).length).toBeGreaterThan(0)
    const page = (await api.ask('GET', '/audit?limit=1')).json()
    const next = (await api.ask('GET', `/audit?limit=1&cursor=${page.next_cursor}`)).json()
    expect(next.data[0].id < page.data[0].id).toBe(true)
  })
})

async function connectAsOwner(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: api.foundation.database.url })
  await client.connect()
  return client
}

test('an entry is written with its change or not at all', async () => {
  const owner = await connectAsOwner()
  await owner.query(
    `ALTER TABLE valija.audit ADD CONSTRAINT refuse CHECK (action <> 'mailbox.created') NOT VALID`,
  )
  const mailbox = {
    name: 'b',
    protocol: 'imap',
    host: 'i.test',
    port: 993,
    user: 'b',
    password: 'p',
    state: 'paused',
  }
  const answer = await api.ask('POST', '/mailboxes', { body: mailbox })
  expect(answer.statusCode).toBeGreaterThanOrEqual(500)
  expect((await api.ask('GET', '/mailboxes')).json().data).toEqual([])
  await owner.end()
})

test('what was done is answered, with its secret, also when it cannot be noted once more', async () => {
  const owner = await connectAsOwner()
  await owner.query('REVOKE INSERT ON valija.audit FROM valija_engine')
  const made = await api.ask('POST', '/keys', { body: { name: 'kept', scopes: ['read'] } })
  await owner.query('GRANT INSERT ON valija.audit TO valija_engine')
  expect(made.statusCode).toBe(201)
  expect(await read('action=key.created', { key: made.json().key })).toContainEqual(
    expect.objectContaining({ target: made.json().id }),
  )
  await owner.query('BEGIN; LOCK TABLE valija.audit IN EXCLUSIVE MODE')
  expect((await api.ask('DELETE', '/inbox')).statusCode).toBeLessThan(300)
  await owner.query('ROLLBACK')
  await owner.end()
})

test('nobody changes or takes away what is in it', async () => {
  const change = api.foundation.database.engine.query(`UPDATE valija.audit SET action = 'x'`)
  await expect(change).rejects.toMatchObject({ code: '42501' })
})

test('every table that a tenant’s connection may write has its changes noted, but for caught mail', async () => {
  const owner = await connectAsOwner()
  const { rows } = await owner.query<{ name: string }>(
    `SELECT DISTINCT g.table_name AS name FROM information_schema.role_table_grants AS g
     WHERE g.table_schema = 'valija' AND g.grantee = 'valija_tenant' AND g.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
       AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = format('valija.%I', g.table_name)::regclass AND t.tgname = 'audit_update')
     ORDER BY 1`,
  )
  await owner.end()
  // Keys of DKIM are changed with their domain, versions made with their template.
  expect(rows.map(({ name }) => name)).toEqual(['dkim_keys', 'inbox', 'template_versions'])
})

test('every operation that manages something has a name in it', async () => {
  const { paths } = (await api.ask('GET', '/openapi.json', { key: null })).json()
  const operations = Object.entries(paths as Record<string, Record<string, { operationId: string }>>)
    .filter(([path]) => !/^\/(?:send|messages|unsubscribe)/.test(path))
    .flatMap(([, methods]) => Object.entries(methods))
    .filter(([method]) => isAudited(method.toUpperCase(), 'manage'))
  expect(operations.length).toBeGreaterThan(30)
  for (const [, { operationId }] of operations) expect(auditAction(operationId)).toMatch(/^[a-z_]+\.[a-z]+$/)
})

test('400 names what is wrong', async () => {
  await expectFault(api, 'GET', '/audit?key=x', {}, 'key')
  await expectFault(api, 'GET', '/audit?cursor=x', {}, 'cursor')
  await expectFault(api, 'GET', '/audit?who=x', {}, 'who')
})

test('401 and 403 without the scope read', () => expectScope(api, 'GET', '/audit', 'read'))
