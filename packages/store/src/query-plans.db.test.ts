/**
 * The plans of the statements that run all the time, with 100,000 rows of one tenant waiting and PostgreSQL knowing it: what
 * accepting, admitting, leasing and sweeping cost must not grow with what waits.
 *
 * Each statement is asked for through the function that makes it, on a connection that answers with the statement's plan; both
 * kinds of plans are looked at: for these very values, and the one for any values that PostgreSQL may change to later.
 */
import { PassThrough } from 'node:stream'
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages } from './accept-messages.ts'
import {
  admitInTurn,
  admitRows,
  countInFlight,
  findEndsOfLooks,
  findWaitingStreams,
  msUntilDue,
  oldest,
  readmit,
  readmitOlderThan,
  releaseExpiredLeases,
} from './admission.ts'
import { cancelMessage } from './change-message.ts'
import type { Database } from './database.ts'
import { admitExpired, findLate, msUntilDeadline, tellLate } from './deadlines.ts'
import { leaseDeliveries, releaseLeases, renewLeases } from './lease-deliveries.ts'
import { forgetOldInboxMails } from './maintenance.ts'
import { settleAttempts } from './settle-attempts.ts'
import { forgetOldFaults, liftQuarantines, suppressMailboxes } from './suppress-mailboxes.ts'

const rowsWaiting = 100_000
let client: pg.Client
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())
const busyTenant = nextId()
const quietTenant = nextId()
/** A recipient whose row is leased, as a few are. */
let leased: Uuid

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  client = new pg.Client({ connectionString: made.url, options: '-c role=valija_engine' })
  await client.connect()
  await client.query('INSERT INTO valija.tenants (id, name) SELECT id, id FROM unnest($1::uuid[]) AS id', [
    [busyTenant, quietTenant],
  ])
  const fill = (tenantId: Uuid, state: string, count: number) =>
    client.query<{ id: Uuid }>(
      `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at,
         admitted_at, leased_until)
       SELECT uuidv7(), uuidv7(), $1, 'transactional', 'mx', 'b.test', $2, now() - interval '1 h', now() + interval '1 d',
         now(), now() + interval '30 s'
       FROM generate_series(1, $3) RETURNING recipient_id AS id`,
      [tenantId, state, count],
    )
  await fill(busyTenant, 'waiting', rowsWaiting)
  await fill(busyTenant, 'admitted', 200)
  leased = (await fill(busyTenant, 'leased', 200)).rows[0]!.id
  await client.query(
    `INSERT INTO valija.inbox (id, tenant_id, message_id, received_at, mail_from, rcpt_to, rcpt_keys, from_header, to_header,
       subject, raw)
     SELECT uuidv7(), $1, $1, now(), '', '{}', '{}', '', '', '', '' FROM generate_series(1, 20000)`,
    [busyTenant],
  )
  await client.query(
    `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason)
     SELECT uuidv7(), $1, n || '@b.test', n || '@b.test', 'mailbox_unknown' FROM generate_series(1, 20000) AS n`,
    [busyTenant],
  )
  await client.query(
    `INSERT INTO valija.mailbox_faults (recipient_id, tenant_id, email_key, provider, reason, at)
     SELECT uuidv7(), $1, n || '@b.test', n % 20 || '.test', 'mailbox_unknown', now() - n * interval '1 min'
     FROM generate_series(1, 20000) AS n`,
    [busyTenant],
  )
  await client.query('SET role = none')
  for (const table of ['deliveries', 'inbox', 'suppressions', 'mailbox_faults']) {
    await client.query(`ANALYZE valija.${table}`)
  }
  await client.query('SET role = valija_engine')
})
afterAll(async () => {
  await client.end()
  await drop()
})

interface Plan {
  'Node Type': string
  'Relation Name'?: string
  Plans?: Plan[]
}
interface Asked {
  name?: string
  text: string
  values?: unknown[]
}

const withParts = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(withParts)]

/**
 * The tables that a function's statements read from one end to the other, by either kind of plan.
 *
 * @param rows what the statements of these names answer; the others answer nothing
 */
async function tablesReadWhole(
  ask: (pool: pg.Pool) => Promise<unknown>,
  rows: Record<string, object[]> = {},
): Promise<string[]> {
  const plans: Plan[] = []
  const explain = async (query: string | Asked, values?: unknown[]) => {
    const asked = typeof query === 'string' ? { text: query, values: values ?? [] } : query
    if (asked.text.startsWith('SET ')) return client.query(asked.text)
    if (/^(?:BEGIN|COMMIT)/.test(asked.text)) return { rows: [], rowCount: 0 }
    for (const [option, parameters] of [
      ['', asked.values],
      ['GENERIC_PLAN, ', undefined],
    ] as const) {
      const result = await client.query(
        `EXPLAIN (${option}FORMAT JSON) ${asked.text}`,
        parameters as unknown[],
      )
      plans.push(result.rows[0]['QUERY PLAN'][0].Plan)
    }
    return { rows: rows[asked.name ?? ''] ?? [], rowCount: 0 }
  }
  const connection = { stream: new PassThrough() }
  const connect = async () => ({ query: explain, release: () => undefined, connection })
  await ask({ query: explain, connect } as unknown as pg.Pool)
  expect(plans.length).toBeGreaterThanOrEqual(2 + 2 * Object.keys(rows).length)
  const whole = plans.flatMap(withParts).filter((part) => part['Node Type'] === 'Seq Scan')
  // Of the small tables (tenants, webhooks) and of partitions without rows that is right.
  return whole
    .flatMap((part) => part['Relation Name'] ?? [])
    .filter((name) => /^(deliveries|inbox|suppressions|mailbox_faults)/.test(name))
}

const newMessage = () => {
  const id = nextId()
  return {
    id,
    tenantId: quietTenant,
    createdAtMs: Date.now(),
    stream: 'transactional' as const,
    delivery: 'mx',
    route: 'mx',
    fromHeader: '',
    fromEmail: '',
    fromDomain: '',
    subject: '',
    tags: [],
    metadata: {},
    sendAtMs: null,
    expiresAtMs: Date.now(),
    rfcMessageId: '',
    requireTls: false,
    isSimulated: false,
    isSensitive: false,
    isSandbox: false,
    resentFrom: null,
    template: null,
    lateAtMs: null,
    body: Buffer.from('x'),
    recipients: [],
    events: [],
    idempotency: null,
  }
}

const newSettlement = () => ({
  recipientId: leased,
  messageId: nextId(),
  tenantId: busyTenant,
  epoch: 0,
  isSensitive: false,
  isFact: true,
  change: { to: 'delivered' as const, from: ['queued' as const] },
  reason: null,
  reply: null,
  enhancedStatus: null,
  attempts: 1,
  retrySteps: 1,
  nextInMs: null,
  deliveredAt: null,
  sizeBytes: null,
  seq: 2,
  mailboxFault: null,
  attempt: null,
  events: [],
})

describe('with 100,000 rows waiting, no table is read whole', () => {
  const lease = () => [{ recipientId: leased, epoch: 0 }]
  test.each<[string, (pool: pg.Pool) => Promise<unknown>]>([
    [
      'to accept a message of another tenant',
      (pool) => acceptMessages(pool, [newMessage()], { directShare: 500 }),
    ],
    ['to find the streams that wait', findWaitingStreams],
    [
      'to admit rows',
      (pool) =>
        admitRows(pool, [{ tenantId: quietTenant, stream: 'bulk', count: 50, perDomain: 20 }], [], oldest(8)),
    ],
    [
      'to find where a look ends',
      (pool) => {
        const quota = { tenantId: quietTenant, stream: 'bulk' as const, count: 50, perDomain: 20 }
        return findEndsOfLooks(pool, [quota], oldest(8))
      },
    ],
    ['to count what is in flight', countInFlight],
    ['to find when the next row is due', msUntilDue],
    ['to take a hint back', (pool) => readmit(pool, [leased])],
    ['to sweep lost hints', (pool) => readmitOlderThan(pool, 30_000)],
    ['to sweep leases that ran out', releaseExpiredLeases],
    ['to lease rows', (pool) => leaseDeliveries(pool, [leased])],
    ['to renew leases', (pool) => renewLeases(pool, lease())],
    ['to give leases back', (pool) => releaseLeases(pool, lease(), { dueInMs: 1000, hold: null })],
    ['to settle', (pool) => settleAttempts(pool, [newSettlement()])],
    ['to find who is late', (pool) => findLate(pool, 100)],
    ['to admit those whose time is over', (pool) => admitExpired(pool, 200)],
    ['to find the next deadline', msUntilDeadline],
    ['to clear the inbox', (pool) => forgetOldInboxMails(pool, 30 * 86_400_000)],
    ['to forget what mailboxes are remembered for', forgetOldFaults],
    ['to lift quarantines', (pool) => liftQuarantines(pool, null)],
  ])('%s', async (_, ask) => {
    expect(await tablesReadWhole(ask)).toEqual([])
  })

  test('to admit rows, by a plan of the time when none waited', async () => {
    const made = await createDatabase()
    const pool = new pg.Pool({ connectionString: made.url, max: 1, options: '-c role=valija_engine' })
    try {
      const tenantId = nextId()
      const quotas = [{ tenantId, stream: 'bulk' as const, count: 10, perDomain: 10 }]
      const admit = () => admitInTurn(pool, (turn) => admitRows(turn, quotas, [], oldest(8)))
      // PostgreSQL keeps a plan from the sixth time on.
      for (let time = 0; time < 8; time++) expect(await admit()).toEqual([])
      await pool.query(
        `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
         SELECT uuidv7(), uuidv7(), $1, 'bulk', 'mx', 'b.test', 'waiting', now() - interval '1 h', now() + interval '1 d'
         FROM generate_series(1, 2000)`,
        [tenantId],
      )
      expect(await admit()).toHaveLength(10)
      await pool.query('SELECT pg_stat_force_next_flush()')
      const { rows } = await pool.query(
        `SELECT seq_tup_read::int AS "read" FROM pg_stat_user_tables WHERE relid = 'valija.deliveries'::regclass`,
      )
      expect(rows).toEqual([{ read: 0 }])
    } finally {
      await pool.end()
      await made.drop()
    }
  })

  test('to tell of who is late, and to cancel a message', async () => {
    const late = (pool: pg.Pool) => tellLate(pool, [leased], () => expect.unreachable())
    expect(await tablesReadWhole(late, { 'lock-late': [{ id: leased }] })).toEqual([])
    const held = {
      'hold-message': [{ id: leased, tenantId: busyTenant }],
      'read-held-recipients': [],
    }
    const target = { tenantId: busyTenant, messageId: leased }
    const cancel = (engine: pg.Pool) =>
      cancelMessage({ engine } as unknown as Database, target, () => expect.unreachable())
    expect(await tablesReadWhole(cancel, held)).toEqual([])
  })

  test('to suppress the mailboxes of a provider that denies many', async () => {
    const mail = { recipientId: leased, fault: 'mailbox_unknown', provider: '1.test', reply: null } as const
    const history = { ...mail, tenantId: busyTenant, emailKey: '1@b.test', faults: 1 }
    const rows = {
      'count-denied': [{ provider: mail.provider, recent: 99 }],
      'read-mailbox-histories': [{ ...history, quarantinedForMs: null, deliveredMsAgo: null }],
    }
    const ask = (pool: pg.Pool) => suppressMailboxes(pool as unknown as pg.PoolClient, [mail])
    expect(await tablesReadWhole(ask, rows)).toEqual([])
  })
})
