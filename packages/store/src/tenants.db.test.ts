/**
 * The second wall between tenants: row-level security holds where a query forgets its own filter. Every table that has
 * a tenant is tried, and one that is added later is found by itself.
 */
import { createIdSource } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { asTenant, type Database, openDatabase, readAsTenant, writeAsTenant } from './database.ts'
import { setSuspended } from './suspend-tenant.ts'
import { deleteTenant } from './tenants.ts'

const newId = createIdSource(Date.now)
const [mine, theirs] = [newId(), newId()]

const figure = () => ({ span: 'day', starts_at: now, outcome: 'accepted', reason: '', count: 1 })

/** A row per table for a tenant: only what has no default. */
const samples: Record<string, (tenantId: string) => Record<string, unknown>> = {
  api_keys: () => ({ id: newId(), name: 'k', hash: Buffer.from(newId()), hint: 'vlj_x', scopes: '{}' }),
  domains: (tenantId) => ({ id: domainOf.get(tenantId), name: 'a.test', token: 't' }),
  dkim_keys: (tenantId) => ({
    domain_id: domainOf.get(tenantId),
    selector: newId(),
    algorithm: 'rsa',
    public_key: '',
    private_key: '',
  }),
  domain_checks: (tenantId) => ({
    domain_id: domainOf.get(tenantId),
    type: 'TXT',
    name: newId(),
    status: 'ok',
    checked_at: now,
  }),
  stats_cursors: () => ({ transaction: '1', id: newId() }),
  stats_names: () => ({ span: 'day', starts_at: now, kind: 'tag', count: 1 }),
  stats: () => ({ ...figure(), domain: 'a.test', stream: 'bulk', provider: '' }),
  alarms: () => ({ stream: 'bulk', alarm: 'bounce_rate', figures: '{}' }),
  tag_stats: () => ({ ...figure(), tag: 't' }),
  latency_stats: () => ({ span: 'day', starts_at: now, stream: 'bulk', provider: '', bucket: 1, count: 1 }),
  webhooks: () => ({ id: newId(), url: 'http://a.test', events: '{*}', secret: Buffer.alloc(1) }),
  routes: () => ({ id: newId(), name: 'r', kind: 'mx' }),
  route_lists: () => ({ id: newId(), routes: '[]' }),
  mailboxes: () => ({
    id: newId(),
    name: 'm',
    protocol: 'pop3',
    host: 'mail.test',
    port: 995,
    tls: 'implicit',
    username: 'u',
    password: Buffer.alloc(1),
  }),
  inbox: () => ({
    ...message(),
    message_id: newId(),
    received_at: now,
    mail_from: '',
    rcpt_to: '{}',
    rcpt_keys: '{}',
    to_header: '',
    raw: '',
  }),
  messages: () => ({
    ...message(),
    created_at: now,
    stream: 'bulk',
    delivery: 'mx',
    from_email: '',
    from_domain: '',
    tags: '{}',
    metadata: {},
    expires_at: now,
    rfc_message_id: '',
    is_simulated: false,
    recipient_count: 1,
  }),
  bodies: () => ({ message_id: newId(), content: '' }),
  recipients: () => ({
    ...child(),
    ordinal: 0,
    email: '',
    email_key: '',
    domain: '',
    type: 'to',
    status: 'queued',
    seq: 1,
  }),
  attempts: () => ({
    ...child(),
    recipient_id: newId(),
    number: 1,
    outcome: 'x',
    started_at: now,
    report: {},
  }),
  events: () => ({ ...child(), type: 'message.accepted', created_at: now, data: {} }),
  deliveries: () => ({
    recipient_id: newId(),
    message_id: newId(),
    stream: 'bulk',
    route: 'mx',
    domain: '',
    state: 'waiting',
    due_at: now,
    expires_at: now,
  }),
  idempotency_keys: () => ({ key: 'k', body_hash: '', message_id: newId(), response: '', expires_at: now }),
  webhook_outbox: (tenantId) => ({ webhook_id: webhookOf.get(tenantId), event_id: newId(), due_at: now }),
  webhook_replays: (tenantId) => ({ id: newId(), webhook_id: webhookOf.get(tenantId), kind: 'waiting' }),
  webhook_tries: () => ({
    id: newId(),
    webhook_id: newId(),
    event_id: newId(),
    event_type: 'x',
    number: 1,
    outcome: 'x',
    started_at: now,
    duration_ms: 1,
  }),
  suppressions: () => ({ id: newId(), email: 'a@b.test', email_key: 'a@b.test', reason: 'manual' }),
  suppression_removals: () => ({
    id: newId(),
    email: 'a@b.test',
    email_key: 'a@b.test',
    reason: 'manual',
    created_at: now,
    removed_how: 'deleted',
  }),
  mailbox_faults: () => ({
    recipient_id: newId(),
    email_key: 'a@b.test',
    provider: 'b.test',
    reason: 'mailbox_full',
  }),
  domain_reports: (tenantId) => ({
    domain_id: domainOf.get(tenantId),
    kind: 'dmarc',
    reporter: 'r',
    report_id: newId(),
    policy_domain: 'a.test',
    day: now,
  }),
  domain_dmarc_counts: (tenantId) => ({
    domain_id: domainOf.get(tenantId),
    day: now,
    reporter: 'r',
    source_ip: newId(),
    is_ours: false,
    signature: 'none',
    signed_by: '',
    spf_domain: '',
    header_from: 'a.test',
    disposition: 'none',
    dkim: true,
    spf: true,
    override: '',
    messages: 1,
  }),
  domain_tls_counts: (tenantId) => ({
    domain_id: domainOf.get(tenantId),
    day: now,
    reporter: 'r',
    policy: 'sts',
    mx: newId(),
    result: 'success',
    sessions: 1,
  }),
  message_digests: () => ({ first_id: newId(), last_id: newId(), terms: '', subjects: '' }),
  sensitive_messages: () => ({ message_id: newId() }),
  tenant_redactions: () => ({}),
  unredacted_messages: () => ({ message_id: newId() }),
  erasures: () => ({ id: newId(), email_key: 'a@b.test', placeholder: '', bound_id: newId() }),
  shaping_holds: () => ({ scope_key: 'provider:a', part: '*', hold: {} }),
  shaping_witnesses: () => ({ scope_key: 'provider:a' }),
  audit: () => ({
    id: newId(),
    created_at: now,
    client_ip: '',
    request_id: '',
    action: 'key.created',
    fields: '{}',
    count: 1,
  }),
  tenant_suspensions: () => ({ began_at: now }),
  usage: () => ({ owner_id: newId(), name: 'recipients_per_day', email_key: '', used: 1, ends_at: now }),
  templates: (tenantId) => ({
    id: templateOf.get(tenantId),
    slug: 's',
    name: 'n',
    kind: 'template',
    latest_version: 1,
  }),
  template_versions: (tenantId) => ({ id: newId(), template_id: templateOf.get(tenantId), number: 1 }),
  taken_reports: () => ({ recipient_id: newId(), fingerprint: '', message_id: newId(), kind: 'bounce' }),
}
const now = new Date()
const domainOf = new Map([mine, theirs].map((tenantId) => [tenantId, newId()]))
const templateOf = new Map([mine, theirs].map((tenantId) => [tenantId, newId()]))
const webhookOf = new Map<string, unknown>()
const message = () => ({ id: newId(), from_header: '', subject: '' })
const child = () => ({ id: newId(), message_id: newId() })

/** What a tenant's own connections may write; all else is the engine's. */
const ownTables = [
  'api_keys',
  'dkim_keys',
  'domains',
  'webhooks',
  'inbox',
  'routes',
  'route_lists',
  'mailboxes',
  'template_versions',
  'templates',
]
/** What they have no business in at all. */
const engineTables = [
  'tenant_redactions',
  'unredacted_messages',
  'webhook_replays',
  'stats_cursors',
  'stats_names',
  'idempotency_keys',
  'mailbox_faults',
  'provider_unknown_rates',
  'instance',
  'mta_sts_policies',
  'tls_reports',
  'source_ips',
  'route_health',
  'warm_ups',
  'shaping_holds',
  'shaping_witnesses',
  'shaping_sites',
  'destinations',
  'queue_depth',
  'usage',
  'taken_reports',
  'mailbox_mails',
]

let target: TestDatabase
let database: Database

function insertion(table: string, tenantId: string): [string, unknown[]] {
  const row = { tenant_id: tenantId, ...samples[table]!(tenantId) }
  const columns = Object.keys(row)
  const places = columns.map((_, i) => `$${i + 1}`)
  return [`INSERT INTO valija.${table} (${columns}) VALUES (${places})`, Object.values(row)]
}

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  for (const tenantId of [mine, theirs]) {
    await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, tenantId])
    for (const table of Object.keys(samples)) {
      await database.engine.query(...insertion(table, tenantId))
      if (table !== 'webhooks') continue
      const made = await database.engine.query('SELECT id FROM valija.webhooks WHERE tenant_id = $1', [
        tenantId,
      ])
      webhookOf.set(tenantId, made.rows[0].id)
    }
  }
})

afterAll(async () => {
  await database.close()
  await target.drop()
})

const tables = Object.keys(samples)
const readable = tables.filter((table) => !engineTables.includes(table))

test('every table with a tenant is tried here', async () => {
  const found = await database.engine.query(
    `SELECT table_name AS name FROM information_schema.columns
      WHERE table_schema = 'valija' AND column_name = 'tenant_id' ORDER BY 1`,
  )
  expect(found.rows.map((row) => row.name)).toEqual([...tables].sort())
})

describe('a tenant’s connection', () => {
  test.each(readable)('reads from %s its own rows only, without any WHERE', async (table) => {
    const seen = await readAsTenant(database, mine, (client) =>
      client.query(`SELECT tenant_id FROM valija.${table}`),
    )
    expect(seen.rows).toEqual([{ tenant_id: mine }])
  })

  test.each(readable)('reads nothing from %s before it says for whom', async (table) => {
    expect((await database.tenant.query(`SELECT FROM valija.${table}`)).rowCount).toBe(0)
  })

  test.each(engineTables)('may not even look into %s', async (table) => {
    const look = readAsTenant(database, mine, (client) => client.query(`SELECT FROM valija.${table}`))
    await expect(look).rejects.toMatchObject({ code: '42501' })
  })

  test('sees the operator’s routes, and can neither change nor delete them', async () => {
    const id = newId()
    await database.engine.query(`INSERT INTO valija.routes (id, name, kind) VALUES ($1, 'shared', 'mx')`, [
      id,
    ])
    const see = (sql: string) => writeAsTenant(database, mine, (client) => client.query(sql, [id]))
    expect((await see('SELECT FROM valija.routes WHERE id = $1')).rowCount).toBe(1)
    expect((await see(`UPDATE valija.routes SET state = 'paused' WHERE id = $1`)).rowCount).toBe(0)
    expect((await see('DELETE FROM valija.routes WHERE id = $1')).rowCount).toBe(0)
    expect((await database.tenant.query('SELECT FROM valija.routes')).rowCount).toBe(0)
    await database.engine.query('DELETE FROM valija.routes WHERE id = $1', [id])
  })

  test('sees no other tenant', async () => {
    const seen = await readAsTenant(database, mine, (client) => client.query('SELECT id FROM valija.tenants'))
    expect(seen.rows).toEqual([{ id: mine }])
  })

  test.each(ownTables)('cannot write a row of another tenant into %s, nor give one away', async (table) => {
    const insert = writeAsTenant(database, mine, (client) => client.query(...insertion(table, theirs)))
    await expect(insert).rejects.toMatchObject({ code: '42501' })
    const giveAway = writeAsTenant(database, mine, (client) =>
      client.query(`UPDATE valija.${table} SET tenant_id = $1`, [theirs]),
    )
    await expect(giveAway).rejects.toMatchObject({ code: '42501' })
  })

  test.each(tables.filter((table) => !ownTables.includes(table)))('writes nothing to %s', async (table) => {
    for (const [sql, values] of [
      insertion(table, mine),
      [`UPDATE valija.${table} SET tenant_id = tenant_id`, []] as const,
      [`DELETE FROM valija.${table}`, []] as const,
    ]) {
      const write = writeAsTenant(database, mine, (client) => client.query(sql, [...values]))
      await expect(write).rejects.toMatchObject({ code: '42501' })
    }
  })

  test('through Prisma sees and changes its own rows only, without any where', async () => {
    await asTenant(database, mine, async (prisma) => {
      for (const rows of [
        await prisma.apiKey.findMany(),
        await prisma.domain.findMany(),
        await prisma.webhook.findMany(),
      ]) {
        expect(rows.map((row) => row.tenantId)).toEqual([mine])
      }
      expect((await prisma.domain.updateMany({ data: { token: 'changed' } })).count).toBe(1)
    })
    const tokens = await database.engine.query('SELECT token FROM valija.domains WHERE tenant_id = $1', [
      theirs,
    ])
    expect(tokens.rows).toEqual([{ token: 't' }])
  })

  test.each(ownTables)('deletes from %s its own rows only, without any WHERE', async (table) => {
    const gone = await writeAsTenant(database, mine, (client) => client.query(`DELETE FROM valija.${table}`))
    expect(gone.rowCount).toBe(1)
    const left = await database.engine.query(`SELECT tenant_id FROM valija.${table}`)
    expect(left.rows).toEqual([{ tenant_id: theirs }])
  })

  test('forgets for whom it worked with the end of the transaction, also of one that failed', async () => {
    const failing = readAsTenant(database, theirs, async (client) => {
      await client.query('SELECT 1')
      throw new Error('on purpose')
    })
    await expect(failing).rejects.toThrow('on purpose')
    for (let i = 0; i < 6; i++)
      expect((await database.tenant.query('SELECT FROM valija.events')).rowCount).toBe(0)
  })

  test.each([["' OR true --"], [''], ['x']])('does not work for %j', async (tenantId) => {
    await expect(readAsTenant(database, tenantId, async () => 1)).rejects.toThrow(TypeError)
  })
})

/** How often the whole of a table was read. */
async function wholeReadsOf(table: string): Promise<number> {
  await database.engine.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await database.engine.query<{ reads: number }>(
    'SELECT seq_scan AS reads FROM pg_stat_user_tables WHERE relname = $1',
    [table],
  )
  return rows[0]!.reads
}

test('a deletion reads no other tenant’s outbox, takes digests in pieces, and what it did not end can be lifted', async () => {
  const [tenantId, webhookId] = [newId(), newId()]
  const { engine } = database
  await engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'going')`, [tenantId])
  await engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://a.test', '{*}', '')`,
    [webhookId, tenantId],
  )
  const tell = (webhook: unknown, owner: string, count: number) =>
    engine.query(
      `INSERT INTO valija.webhook_outbox (webhook_id, tenant_id, event_id, due_at)
       SELECT $1, $2, gen_random_uuid(), now() FROM generate_series(1, $3)`,
      [webhook, owner, count],
    )
  await tell(webhookId, tenantId, 10)
  await tell(webhookOf.get(theirs), theirs, 20_000)
  await engine.query(
    `INSERT INTO valija.message_digests (tenant_id, first_id, last_id, terms, subjects)
     SELECT $1, id, id, '', '' FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 5)) AS made`,
    [tenantId],
  )
  await engine.query('ANALYZE valija.webhook_outbox')
  // The last transaction fails: whatever it takes along stays.
  await engine.query(`INSERT INTO valija.tag_stats (tenant_id, span, starts_at, outcome, reason, count, tag)
    VALUES ('${tenantId}', 'day', now(), 'accepted', '', 1, 't')`)
  const owner = new pg.Client({ connectionString: target.url })
  await owner.connect()
  await owner.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'on purpose'; END $$;
    CREATE TRIGGER refuse BEFORE DELETE ON valija.tenants FOR EACH ROW EXECUTE FUNCTION refuse()`)
  try {
    const before = await wholeReadsOf('webhook_outbox')
    await expect(deleteTenant(database, tenantId)).rejects.toThrow('on purpose')
    expect(await wholeReadsOf('webhook_outbox')).toBe(before)
  } finally {
    await owner.query('DROP TRIGGER refuse ON valija.tenants')
    await owner.end()
  }
  for (const table of ['webhook_outbox', 'message_digests']) {
    expect(
      (await engine.query(`SELECT FROM valija.${table} WHERE tenant_id = $1`, [tenantId])).rowCount,
    ).toBe(0)
  }
  const suspension = () =>
    engine.query(
      `SELECT t.suspended_at = s.began_at AS "isSame", t.was_suspended, s.ended_at IS NULL AS "isOpen"
       FROM valija.tenants AS t JOIN valija.tenant_suspensions AS s ON s.tenant_id = t.id WHERE t.id = $1`,
      [tenantId],
    )
  expect((await suspension()).rows).toEqual([{ isSame: true, was_suspended: true, isOpen: true }])
  await setSuspended(database, tenantId, false)
  expect((await suspension()).rows).toMatchObject([{ isOpen: false }])
  expect(await deleteTenant(database, tenantId)).toBe('deleted')
})

test('of a deleted tenant nothing stays but what goes by itself with the time', async () => {
  await database.engine.query('DELETE FROM valija.deliveries WHERE tenant_id = $1', [theirs])
  expect(await deleteTenant(database, theirs)).toBe('deleted')
  const left: string[] = []
  for (const table of tables) {
    const rows = await database.engine.query(`SELECT FROM valija.${table} WHERE tenant_id = $1`, [theirs])
    if (rows.rowCount !== 0) left.push(table)
  }
  const byTime = [
    'attempts',
    'audit',
    'bodies',
    'events',
    'messages',
    'recipients',
    'taken_reports',
    'webhook_tries',
  ]
  expect(left.sort()).toEqual(byTime)
})
