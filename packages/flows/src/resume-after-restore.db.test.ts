/** What is held after a restore, and what becomes of it: on a real PostgreSQL. t-76 does it with a real restore and real processes. */
import { createIdSource, createMailLog, formatId, type Stream, type Uuid } from '@valija/core'
import {
  acceptMessages,
  countRestored,
  type Database,
  leaseDeliveries,
  moveMessage,
  openDatabase,
  openLeadership,
  releaseExpiredLeases,
  releaseLeases,
  setSuspended,
} from '@valija/store'
import pg from 'pg'

import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import {
  type EndParts,
  endAfterRestore,
  holdAfterRestore,
  LossTimeError,
  releaseAfterRestore,
  WorkersRunError,
} from './resume-after-restore.ts'

const nextId = createIdSource(() => Date.now())
const [acme, once] = [nextId(), nextId()]
const hourMs = 3_600_000
let made: TestDatabase
let database: Database
let watcher: pg.Client
let parts: EndParts
/** Lines of the mail log. */
const logged: object[] = []

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  watcher = new pg.Client(made.url)
  await watcher.connect()
  const mailLog = createMailLog((fields) => void logged.push(fields))
  parts = { database, clock: { nowMs: Date.now }, nextId, wake: { send: () => {} }, mailLog }
  await sql(
    "INSERT INTO valija.tenants (id, name, at_most_once) VALUES ($1, 'acme', false), ($2, 'once', true)",
    [acme, once],
  )
})
afterEach(() => sql('DELETE FROM valija.deliveries'))
afterAll(async () => {
  await watcher.end()
  await database.close()
  await made.drop()
})

const sql = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await database.engine.query<Row>(text, values)).rows

interface Over {
  stream?: Stream
  tenantId?: Uuid
  dueInMs?: number
  expiresInMs?: number
  makeId?: typeof nextId
}

/** A mail in the given state at the point in time; returns its recipient. */
async function accept(state: string, over: Over = {}) {
  const { tenantId = acme, stream = 'transactional', dueInMs = 0, expiresInMs = 24 * hourMs } = over
  const message = makeMessage(over.makeId ?? nextId, tenantId, {
    stream,
    expiresAtMs: Date.now() + expiresInMs,
  })
  await acceptMessages(database.engine, [message], { directShare: 0 })
  const { id } = message.recipients[0]!
  await sql(
    `UPDATE valija.deliveries SET state = $2, due_at = date_trunc('milliseconds', now()) + make_interval(secs => $3),
       leased_until = CASE WHEN $2 = 'leased' THEN now() + interval '20 s' END, admitted_at = CASE WHEN $2 = 'admitted' THEN now() END
     WHERE recipient_id = $1`,
    [id, state, dueInMs / 1000],
  )
  return id
}

const rowOf = async (id: Uuid) =>
  (
    await sql<{ state: string; hold: string | null; dueInS: number }>(
      `SELECT state, hold, extract(epoch FROM due_at - now())::float8 AS "dueInS" FROM valija.deliveries WHERE recipient_id = $1`,
      [id],
    )
  )[0]

const endOf = async (id: Uuid) =>
  (
    await sql<{ status: string; type: string; data: Record<string, unknown> }>(
      `SELECT r.status, e.type, e.data FROM valija.recipients AS r JOIN valija.events AS e ON e.message_id = r.message_id
       WHERE r.id = $1 ORDER BY e.id DESC LIMIT 1`,
      [id],
    )
  )[0]

test('what is waiting and due, admitted or leased is held until its time is over; what comes later, and what comes new, goes on', async () => {
  const inFlight = await Promise.all(['waiting', 'admitted', 'leased'].map((state) => accept(state)))
  const heldBack = await accept('waiting', { dueInMs: hourMs })
  await sql(`UPDATE valija.deliveries SET hold = 'route_down:main' WHERE recipient_id = $1`, [heldBack])
  const later = await accept('waiting', { dueInMs: hourMs })
  expect(await holdAfterRestore(parts, null)).toMatchObject({ held: 4 })
  for (const id of [...inFlight, heldBack]) {
    const row = (await rowOf(id))!
    expect(row).toMatchObject({ state: 'waiting', hold: 'restored:transactional' })
    expect(row.dueInS).toBeGreaterThan(23 * 3_600)
  }
  expect(await rowOf(later)).toMatchObject({ state: 'waiting', hold: null })
  const fresh = await accept('waiting')
  expect(await countRestored(database.engine)).toMatchObject([
    { tenantId: acme, stream: 'transactional', count: 4, isAtMostOnce: false },
  ])
  // Told again, it holds nothing twice; of what has come since only what a worker may have had.
  await accept('leased')
  const lostAt = new Date(Date.now() - 60_000)
  expect(await holdAfterRestore(parts, lostAt)).toEqual({ held: 1, dueBy: lostAt })
  expect(await rowOf(fresh)).toMatchObject({ hold: null })
})

test('released by stream it is due at once; what is to go at most once has its end, as uncertain, and is never leased again', async () => {
  const [code, campaign] = [await accept('leased'), await accept('leased', { stream: 'bulk' })]
  const single = await accept('waiting', { tenantId: once })
  await holdAfterRestore(parts, null)
  expect(await releaseAfterRestore(parts, { tenantId: null, stream: 'transactional' })).toEqual({
    released: 1,
    ended: 1,
  })
  expect((await rowOf(code))!.dueInS).toBeLessThanOrEqual(0)
  expect(await rowOf(campaign)).toMatchObject({ hold: 'restored:bulk' })
  expect(await rowOf(single)).toBeUndefined()
  expect(await endOf(single)).toMatchObject({
    status: 'failed',
    type: 'message.failed',
    data: {
      reason: 'network',
      uncertain: true,
      explanation: expect.stringMatching(/set back.*may have been/),
    },
  })
})

test('ended it fails as uncertain, that of one tenant alone where one is named', async () => {
  const [mine, other] = [await accept('admitted'), await accept('admitted', { tenantId: once })]
  await holdAfterRestore(parts, null)
  expect(await endAfterRestore(parts, { tenantId: acme, stream: null })).toBe(1)
  expect(await endOf(mine)).toMatchObject({ status: 'failed', data: { uncertain: true } })
  expect(logged.filter((line) => JSON.stringify(line).includes(formatId('recipient', mine)))).toMatchObject([
    { attempt: 1, outcome: 'failed', reason: 'network' },
  ])
  expect(await rowOf(other)).toMatchObject({ hold: 'restored:transactional' })
})

/** As the dispatcher comes to it, and a worker takes it. */
async function leaseAgain(id: Uuid) {
  await sql(`UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1`, [
    id,
  ])
  return (await leaseDeliveries(database.engine, [id])).deliveries[0]
}

const marked = { state: 'waiting', hold: 'restored:transactional' }

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await sql('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

test('its mark stays when its tenant is suspended and resumed and its old end passes, when it is given back, and when its worker dies', async () => {
  const tenantId = await newTenant()
  // Accepted six hours ago for an hour; for five of them its tenant was suspended.
  const id = await accept('waiting', {
    ...{ tenantId, expiresInMs: -5 * hourMs },
    makeId: createIdSource(() => Date.now() - 6 * hourMs),
  })
  await holdAfterRestore(parts, null)
  await setSuspended(database, tenantId, true)
  await sql(
    `UPDATE valija.tenant_suspensions SET began_at = began_at - interval '6 h' WHERE tenant_id = $1`,
    [tenantId],
  )
  await setSuspended(database, tenantId, false)
  const atOldEnd = (await leaseAgain(id))!
  expect(atOldEnd).toMatchObject({ isRestored: true, isExpired: false })
  await releaseLeases(database.engine, [atOldEnd], { dueInMs: 1_000, hold: null })
  expect(await rowOf(id)).toMatchObject(marked)
  await leaseAgain(id)
  await sql(`UPDATE valija.deliveries SET leased_until = now() - interval '1 h' WHERE recipient_id = $1`, [
    id,
  ])
  await until('the sweep', async () => (await releaseExpiredLeases(database.engine)).count === 1)
  expect(await rowOf(id)).toMatchObject(marked)
  expect(await countRestored(database.engine)).toMatchObject([{ tenantId, count: 1 }])
})

test('moved to now by its sender it is held still', async () => {
  const id = await accept('waiting')
  await holdAfterRestore(parts, null)
  const [{ messageId }] = (await sql<{ messageId: Uuid }>(
    'SELECT message_id AS "messageId" FROM valija.recipients WHERE id = $1',
    [id],
  )) as [{ messageId: Uuid }]
  const move = { startMs: Date.now(), isAtOnce: true, isChanged: () => false, redate: () => null }
  const event = { tenantId: acme, type: 'message.scheduled', messageId, createdAtMs: Date.now() } as const
  await moveMessage(database, { tenantId: acme, messageId }, move, (_, __, seq) => ({
    ...{ ...event, id: nextId(), data: { seq } },
  }))
  expect(await rowOf(id)).toMatchObject(marked)
  expect(await leaseAgain(id)).toMatchObject({ isRestored: true })
})

test('of a suspended tenant it is ended as any, and what is not held waits', async () => {
  const tenantId = await newTenant()
  const [held, other] = [await accept('waiting', { tenantId }), await accept('waiting', { tenantId })]
  await holdAfterRestore(parts, null)
  await sql('UPDATE valija.deliveries SET hold = NULL WHERE recipient_id = $1', [other])
  await setSuspended(database, tenantId, true)
  expect(await endAfterRestore(parts, { tenantId, stream: null })).toBe(1)
  expect(await endOf(held)).toMatchObject({ status: 'failed', data: { uncertain: true } })
  expect(await leaseAgain(other)).toBeUndefined()
  expect(await rowOf(other)).toMatchObject({ state: 'waiting', hold: null })
})

/** What shows that a worker is there. */
async function startWorker() {
  const leadership = openLeadership(made.url, 'dispatch', () => undefined)
  const leads = await leadership.isHeld()
  onTestFinished(() => leadership.close())
  return { leads, stop: () => leadership.close() }
}

/** The engine's role is not shown what others wait for. */
const isBlocked = async () =>
  (
    await watcher.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%restored:%'`,
    )
  ).rowCount === 1

/** Somebody else's transaction. */
async function openOther() {
  const other = new pg.Client(made.url)
  await other.connect()
  onTestFinished(() => other.end().catch(() => undefined))
  await other.query('BEGIN')
  const lock = (id: Uuid, how = '') =>
    other.query(`SELECT FROM valija.deliveries WHERE recipient_id = $1 FOR UPDATE ${how}`, [id])
  return { lock, end: () => other.query('COMMIT') }
}

test('while a worker runs nothing is held', async () => {
  const id = await accept('leased')
  const worker = await startWorker()
  await expect(holdAfterRestore(parts, null)).rejects.toThrow(WorkersRunError)
  expect(await rowOf(id)).toMatchObject({ state: 'leased', hold: null })
  await worker.stop()
})

test('a worker that starts meanwhile leads nothing, and is told of', async () => {
  const id = await accept('waiting')
  const other = await openOther()
  await other.lock(id)
  const holding = holdAfterRestore(parts, null)
  const outcome = expect(holding).rejects.toThrow(/A worker came.*1 recipients are held/)
  await until('it waits for the row', isBlocked)
  const worker = await startWorker()
  expect(worker.leads).toBe(false)
  await other.end()
  await outcome
  await worker.stop()
})

test('rows are taken by rising id, so that it and somebody else never wait for each other', async () => {
  const [lower, higher] = [await accept('waiting'), await accept('waiting')]
  // Behind the other in the table.
  await sql('UPDATE valija.deliveries SET due_at = due_at WHERE recipient_id = $1', [lower])
  const other = await openOther()
  await other.lock(lower)
  const holding = holdAfterRestore(parts, null)
  await until('it waits for the row', isBlocked)
  await other.lock(higher, 'NOWAIT')
  await other.end()
  expect(await holding).toMatchObject({ held: 2 })
})

test('a time of loss that is still to come, or before what came back, is refused, and nothing is held', async () => {
  const id = await accept('waiting', { tenantId: once })
  await holdAfterRestore(parts, null)
  await endAfterRestore(parts, { tenantId: once, stream: null })
  expect((await endOf(id))!.status).toBe('failed')
  const waiting = await accept('waiting')
  for (const offMs of [hourMs, -hourMs])
    await expect(holdAfterRestore(parts, new Date(Date.now() + offMs))).rejects.toThrow(LossTimeError)
  expect(await rowOf(waiting)).toMatchObject({ hold: null })
  expect(await holdAfterRestore(parts, new Date())).toMatchObject({ held: 1 })
})

test('what an older worker lets go counts as one whose final dot may have gone out', async () => {
  const id = await accept('waiting', { tenantId: once })
  await holdAfterRestore(parts, null)
  await sql(`UPDATE valija.deliveries SET state = 'admitted', hold = NULL WHERE recipient_id = $1`, [id])
  const { deliveries } = await leaseDeliveries(database.engine, [id])
  expect(deliveries).toMatchObject([{ isPastDot: true, atMostOnce: true }])
})
