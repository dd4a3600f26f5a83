/**
 * Cancelling meets claims, settles and itself, on a real PostgreSQL: whoever has a row's lock decides, and the other one finds it decided.
 */
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { cancelMessage, type TellChange } from './change-message.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries, releaseLeases } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let database: Database
let databaseUrl: string
let drop: () => Promise<void>
/** Connections that hold rows, to be closed when a test has failed. */
const held: pg.Client[] = []

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  databaseUrl = made.url
  database = openDatabase({ url: made.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(async () => {
  for (const client of held.splice(0)) await client.end()
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function accept(count = 1): Promise<NewMessage & { ids: Uuid[] }> {
  const { recipients: some, ...made } = makeMessage(nextId, tenantId)
  const recipients = Array.from({ length: count }, (_, index) => ({
    ...some[0]!,
    id: nextId(),
    email: `r${index}@example.org`,
  }))
  const message = { ...made, recipients }
  await acceptMessages(database.engine, [message], { directShare: 1_000_000 })
  return { ...message, ids: recipients.map(({ id }) => id) }
}

const tell: TellChange = (message, recipient, seq) => ({
  id: nextId(),
  tenantId: message.tenantId,
  type: 'message.cancelled',
  messageId: message.id,
  createdAtMs: Date.now(),
  data: { email: recipient.email, seq },
})
const cancel = ({ id }: NewMessage) => cancelMessage(database, { tenantId, messageId: id }, tell)

function settlement(message: NewMessage, recipientId: Uuid, more: Partial<Settlement>): Settlement {
  return {
    recipientId,
    messageId: message.id,
    tenantId,
    epoch: 1,
    isSensitive: false,
    isFact: true,
    change: { to: 'delivered', from: ['queued', 'deferred'] },
    reason: null,
    reply: '250 2.0.0 OK',
    enhancedStatus: '2.0.0',
    attempts: 1,
    retrySteps: 1,
    nextInMs: null,
    deliveredAt: new Date(),
    sizeBytes: 1234,
    seq: 2,
    mailboxFault: null,
    attempt: null,
    events: [{ id: nextId(), type: 'message.delivered', createdAtMs: Date.now(), data: { seq: 2 } }],
    ...more,
  }
}

/** Begins a transaction that holds these deliveries. */
async function hold(ids: Uuid[]): Promise<pg.Client> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  held.push(client)
  await client.query('BEGIN')
  await client.query(
    'SELECT FROM valija.deliveries WHERE recipient_id = ANY ($1) ORDER BY recipient_id FOR UPDATE',
    [ids],
  )
  return client
}

/** Resolves when so many connections wait for a lock. */
const lockWaits = (count: number) =>
  until(`${count} waits for a lock`, async () => {
    const { rows } = await held[0]!.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return rows.length === count
  })

const storedOf = async (ids: Uuid[]) =>
  (
    await database.engine.query(
      `SELECT r.status, r.seq, d.state,
         (SELECT count(*)::int FROM valija.events AS e WHERE e.message_id = r.message_id AND e.type = 'message.cancelled') AS told
       FROM valija.recipients AS r LEFT JOIN valija.deliveries AS d ON d.recipient_id = r.id
       WHERE r.id = ANY ($1) ORDER BY r.ordinal`,
      [ids],
    )
  ).rows

test('a claim that is under way wins: what it leases is not cancelled', async () => {
  const message = await accept(2)
  const claim = await hold([message.ids[0]!])
  await claim.query(
    "UPDATE valija.deliveries SET state = 'leased', epoch = 1, leased_until = now() + interval '30 seconds' WHERE recipient_id = $1",
    [message.ids[0]],
  )
  const cancelled = cancel(message)
  await lockWaits(1)
  await claim.query('COMMIT')
  await claim.end()
  expect((await cancelled)?.recipients.map(({ status }) => status)).toEqual(['sending', 'cancelled'])
  expect(await storedOf(message.ids)).toMatchObject([
    { status: 'queued', state: 'leased' },
    { status: 'cancelled', state: null },
  ])
})

test('a claim that comes while it is cancelled finds nothing to lease', async () => {
  const message = await accept(3)
  const [cancelled, claimed] = await Promise.all([
    cancel(message),
    leaseDeliveries(database.engine, message.ids),
  ])
  const leased = new Set(claimed.deliveries.map(({ recipientId }) => recipientId))
  for (const [index, recipient] of (cancelled?.recipients ?? []).entries()) {
    expect(recipient.status).toBe(leased.has(message.ids[index]!) ? 'sending' : 'cancelled')
  }
  expect((await leaseDeliveries(database.engine, message.ids)).deliveries).toEqual([])
})

test('a settle that is under way is waited for: its end stands', async () => {
  const message = await accept()
  await leaseDeliveries(database.engine, message.ids)
  const other = await hold(message.ids)
  const settled = settleAttempts(database.engine, [settlement(message, message.ids[0]!, {})])
  await lockWaits(1)
  const cancelled = cancel(message)
  await lockWaits(2)
  await other.end()
  expect((await settled).settled.size).toBe(1)
  expect(await cancelled).toMatchObject({ changed: [], recipients: [{ status: 'delivered' }] })
  expect(await storedOf(message.ids)).toEqual([{ status: 'delivered', seq: 2, state: null, told: 0 }])
})

test('what was given back and cancelled is not touched by a late result of that lease', async () => {
  const message = await accept()
  await leaseDeliveries(database.engine, message.ids)
  const lease = { recipientId: message.ids[0]!, epoch: 1 }
  await releaseLeases(database.engine, [lease], { dueInMs: 3_000, hold: null })
  expect((await cancel(message))?.changed).toHaveLength(1)
  const late = settlement(message, lease.recipientId, {
    isSensitive: false,
    isFact: false,
    nextInMs: 60_000,
    change: { to: 'deferred', from: ['queued'] },
  })
  expect((await settleAttempts(database.engine, [late])).settled.size).toBe(0)
  expect(await storedOf(message.ids)).toEqual([{ status: 'cancelled', seq: 2, state: null, told: 1 }])
})

test('of many who cancel one message at a time one does, and all find it cancelled', async () => {
  const message = await accept(20)
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => cancel(message)))
  expect(outcomes.map((outcome) => outcome?.changed.length).sort()).toEqual([0, 0, 0, 0, 0, 0, 0, 20])
  for (const outcome of outcomes) {
    expect(new Set(outcome?.recipients.map(({ status }) => status))).toEqual(new Set(['cancelled']))
  }
  expect((await storedOf(message.ids))[0]).toEqual({ status: 'cancelled', seq: 2, state: null, told: 20 })
})

test('settles of some recipients and a cancel of all never wait for each other in a circle', async () => {
  for (let round = 0; round < 10; round++) {
    const message = await accept(12)
    await leaseDeliveries(database.engine, message.ids.slice(0, 6))
    const turned = [...message.ids.slice(0, 6)].reverse()
    const [outcome] = await Promise.all([
      cancel(message),
      settleAttempts(
        database.engine,
        turned.map((id) => settlement(message, id, {})),
      ),
    ])
    expect(outcome?.changed).toHaveLength(6)
    const stored = await storedOf(message.ids)
    expect(stored.map(({ status }) => status)).toEqual([
      ...Array(6).fill('delivered'),
      ...Array(6).fill('cancelled'),
    ])
  }
})
