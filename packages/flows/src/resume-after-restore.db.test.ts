/** What is held after a restore, and what becomes of it: on a real PostgreSQL. t-76 does it with a real restore and real processes. */
import { createIdSource, type Stream, type Uuid } from '@valija/core'
import { acceptMessages, countRestored, type Database, leaseDeliveries, openDatabase } from '@valija/store'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import {
  endAfterRestore,
  holdAfterRestore,
  type RestoreParts,
  releaseAfterRestore,
} from './resume-after-restore.ts'

const nextId = createIdSource(() => Date.now())
const [acme, once] = [nextId(), nextId()]
const hourMs = 3_600_000
let made: TestDatabase
let database: Database
let parts: RestoreParts

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  parts = { database, clock: { nowMs: Date.now }, nextId, wake: { send: () => {} } }
  await sql(
    "INSERT INTO valija.tenants (id, name, at_most_once) VALUES ($1, 'acme', false), ($2, 'once', true)",
    [acme, once],
  )
})
afterEach(() => sql('DELETE FROM valija.deliveries'))
afterAll(async () => {
  await database.close()
  await made.drop()
})

const sql = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await database.engine.query<Row>(text, values)).rows

/** A mail in the given state at the point in time; returns its recipient. */
async function accept(state: string, over: { stream?: Stream; tenantId?: Uuid; dueInMs?: number } = {}) {
  const { tenantId = acme, stream = 'transactional', dueInMs = 0 } = over
  const message = makeMessage(nextId, tenantId, { stream, expiresAtMs: Date.now() + 24 * hourMs })
  await acceptMessages(database.engine, [message], { directShare: 0 })
  const { id } = message.recipients[0]!
  await sql(
    `UPDATE valija.deliveries SET state = $2, due_at = now() + make_interval(secs => $3),
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
  expect(await holdAfterRestore(parts, null)).toBe(4)
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
  expect(await holdAfterRestore(parts, new Date(Date.now() - 60_000))).toBe(1)
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
  expect(await rowOf(other)).toMatchObject({ hold: 'restored:transactional' })
})

test('what somebody else lets go, as by moving it, counts as one whose final dot may have gone out', async () => {
  const id = await accept('waiting', { tenantId: once })
  await holdAfterRestore(parts, null)
  await sql(`UPDATE valija.deliveries SET state = 'admitted', hold = NULL WHERE recipient_id = $1`, [id])
  const { deliveries } = await leaseDeliveries(database.engine, [id])
  expect(deliveries).toMatchObject([{ isPastDot: true, atMostOnce: true }])
})
