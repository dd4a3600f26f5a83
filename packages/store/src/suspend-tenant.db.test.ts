/** What a suspension holds back, and what is left of it when it is lifted: on a real PostgreSQL. */
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { acceptMessages } from './accept-messages.ts'
import { admitRows, findWaitingStreams, msUntilDue, oldestDueMs } from './admission.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries, releaseLeases } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { pauseBulk } from './pause-bulk.ts'
import { findHeldInHand, setSuspended } from './suspend-tenant.ts'

const nextId = createIdSource(() => Date.now())
let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

const sql = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await database.engine.query<Row>(text, values)).rows

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await sql('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

/** A mail that waits, accepted an hour ago, whose time is over in `ttlMs` from its acceptance. */
async function accept(tenantId: Uuid, ttlMs: number, directShare = 0, makeId = nextId): Promise<Uuid> {
  const message = makeMessage(makeId, tenantId, { expiresAtMs: Date.now() + ttlMs })
  await acceptMessages(database.engine, [message], { directShare })
  return message.recipients[0]!.id
}

/** As if it had begun, and all of it had been accepted, so long ago. */
const hourMs = 3_600_000
async function lastFor(tenantId: Uuid, ms: number): Promise<void> {
  await sql(
    `UPDATE valija.tenant_suspensions SET began_at = began_at - make_interval(secs => $2) WHERE tenant_id = $1 AND ended_at IS NULL`,
    [tenantId, ms / 1000],
  )
}

const waits = async (tenantId: Uuid) =>
  (await findWaitingStreams(database.engine)).some((stream) => stream.tenantId === tenantId)

async function stateOf(id: Uuid): Promise<string> {
  const rows = await sql<{ state: string }>('SELECT state FROM valija.deliveries WHERE recipient_id = $1', [
    id,
  ])
  return rows[0]!.state
}

async function leaseAnew(recipientId: Uuid) {
  await sql(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1`, [recipientId])
  return (await leaseDeliveries(database.engine, [recipientId])).deliveries[0]!
}

test('what a suspended tenant has waiting is not admitted, and no reason to look or to alarm; others go on', async () => {
  const [held, other] = [await newTenant(), await newTenant()]
  await accept(held, hourMs)
  await setSuspended(database, held, true)
  expect(await waits(held)).toBe(false)
  expect(await msUntilDue(database.engine)).toBeNull()
  expect(await oldestDueMs(database.engine)).toEqual({ transactional: 0, bulk: 0 })
  await accept(other, hourMs)
  expect(await waits(other)).toBe(true)
  expect(await msUntilDue(database.engine)).toBeLessThanOrEqual(0)
  await setSuspended(database, held, false)
  expect(await waits(held)).toBe(true)
})

test('what was admitted already waits again', async () => {
  const tenantId = await newTenant()
  const id = await accept(tenantId, hourMs, 100)
  await setSuspended(database, tenantId, true)
  expect(await stateOf(id)).toBe('waiting')
  expect((await leaseDeliveries(database.engine, [id])).deliveries).toEqual([])
})

test('what somebody admits who does not know of it is not leased, and waits again; that of others is', async () => {
  const [held, other] = [await newTenant(), await newTenant()]
  const ids = [await accept(held, hourMs), await accept(other, hourMs)]
  await setSuspended(database, held, true)
  await sql(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = ANY ($1)`, [ids])
  const { deliveries, orphans } = await leaseDeliveries(database.engine, ids)
  expect([deliveries.map(({ recipientId }) => recipientId), orphans]).toEqual([[ids[1]], []])
  expect([await stateOf(ids[0]!), await stateOf(ids[1]!)]).toEqual(['waiting', 'leased'])
})

test('done again it repairs what the first left: what was admitted since waits', async () => {
  const tenantId = await newTenant()
  const id = await accept(tenantId, hourMs)
  await setSuspended(database, tenantId, true)
  await sql(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1`, [id])
  expect(await setSuspended(database, tenantId, true)).toEqual({ isChanged: false, hasWebhooks: false })
  expect(await stateOf(id)).toBe('waiting')
})

test('what workers have in hand is found, until they have given it back', async () => {
  const tenantId = await newTenant()
  const id = await accept(tenantId, hourMs, 100)
  const { deliveries } = await leaseDeliveries(database.engine, [id])
  expect(await findHeldInHand(database)).not.toContain(tenantId)
  await setSuspended(database, tenantId, true)
  expect(await findHeldInHand(database)).toContain(tenantId)
  await releaseLeases(database.engine, deliveries, { dueInMs: 0, hold: null })
  expect(await findHeldInHand(database)).not.toContain(tenantId)
})

test('a mail of either stream whose request began before is accepted, and waits', async () => {
  const tenantId = await newTenant()
  await setSuspended(database, tenantId, true)
  for (const stream of ['transactional', 'bulk'] as const) {
    const message = makeMessage(nextId, tenantId, { stream })
    const { results } = await acceptMessages(database.engine, [message], { directShare: 100 })
    expect(results).toEqual([{ kind: 'accepted', admitted: [] }])
    expect(await stateOf(message.recipients[0]!.id)).toBe('waiting')
  }
})

test('quotas that were made before it, or before a pause of bulk mail, admit nothing of what is held', async () => {
  const [held, paused] = [await newTenant(), await newTenant()]
  for (const tenantId of [held, paused]) {
    for (const stream of ['transactional', 'bulk'] as const) {
      await acceptMessages(database.engine, [makeMessage(nextId, tenantId, { stream })], { directShare: 0 })
    }
  }
  const quotas = [held, paused].flatMap((tenantId) =>
    (['transactional', 'bulk'] as const).map((stream) => ({ tenantId, stream, count: 10, perDomain: 10 })),
  )
  await setSuspended(database, held, true)
  await pauseBulk(database.engine, paused, { reason: 'operator' }, { explanation: '', remedy: '' })
  const admitted = await admitRows(database.engine, quotas, [], () => ({ from: null, rows: null }))
  expect(admitted.map(({ tenantId, stream }) => [tenantId, stream])).toEqual([[paused, 'transactional']])
})

describe('the time of a mail', () => {
  test('does not run on while its tenant is suspended, and no row of it is written', async () => {
    const tenantId = await newTenant()
    const id = await accept(
      tenantId,
      hourMs,
      0,
      createIdSource(() => Date.now() - 6 * hourMs),
    )
    const read = () =>
      sql<{ xmin: string }>('SELECT xmin FROM valija.deliveries WHERE tenant_id = $1', [tenantId])
    const before = await read()
    await setSuspended(database, tenantId, true)
    await lastFor(tenantId, 5 * hourMs)
    await setSuspended(database, tenantId, false)
    expect(await read()).toEqual(before)
    const { expiresAt, isExpired } = await leaseAnew(id)
    expect(isExpired).toBe(false)
    expect(expiresAt.getTime() - Date.now()).toBeGreaterThan(5.9 * hourMs)
    expect(expiresAt.getTime() - Date.now()).toBeLessThan(6.1 * hourMs)
  })

  test('that was over before the suspension is not brought back, and what comes later has its own', async () => {
    const tenantId = await newTenant()
    const over = await accept(tenantId, -hourMs)
    await setSuspended(database, tenantId, true)
    await setSuspended(database, tenantId, false)
    await sql(
      `UPDATE valija.tenant_suspensions SET began_at = ended_at - interval '1 minute' WHERE tenant_id = $1`,
      [tenantId],
    )
    expect((await leaseAnew(over)).isExpired).toBe(true)
    const later = await accept(tenantId, hourMs)
    const { expiresAt } = await leaseAnew(later)
    expect(expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(hourMs)
  })

  test('is longer by several suspensions, and a retry is not called for by the time that it had at first', async () => {
    const tenantId = await newTenant()
    const earlier = createIdSource(() => Date.now() - 7 * hourMs)
    const id = await accept(tenantId, hourMs, 0, earlier)
    for (let i = 0; i < 2; i++) {
      await sql(
        `UPDATE valija.tenant_suspensions SET began_at = began_at - interval '3 h', ended_at = ended_at - interval '3 h'
         WHERE tenant_id = $1`,
        [tenantId],
      )
      await setSuspended(database, tenantId, true)
      await lastFor(tenantId, 3 * hourMs)
      await setSuspended(database, tenantId, false)
    }
    const delivery = await leaseAnew(id)
    expect(delivery.expiresAt.getTime() - Date.now()).toBeGreaterThan(5.9 * hourMs)
    await releaseLeases(database.engine, [delivery], { dueInMs: 2 * hourMs, hold: null })
    const [row] = await sql<{ due: Date }>(
      'SELECT due_at AS due FROM valija.deliveries WHERE recipient_id = $1',
      [id],
    )
    expect(row!.due.getTime() - Date.now()).toBeGreaterThan(1.9 * hourMs)
  })
})

test('is told once when it begins and once when it ends', async () => {
  const tenantId = await newTenant()
  const turns = [true, true, false, false]
  const changed: boolean[] = []
  const beganMs = performance.now()
  for (const turn of turns) changed.push((await setSuspended(database, tenantId, turn)).isChanged)
  expect(changed).toEqual([true, false, true, false])
  const wholeS = Math.floor((performance.now() - beganMs) / 1_000)
  const told = await sql<{ type: string; data: Record<string, unknown> }>(
    'SELECT type, data FROM valija.events WHERE tenant_id = $1 ORDER BY id',
    [tenantId],
  )
  expect(told).toEqual([
    { type: 'tenant.paused', data: { reason: 'suspended' } },
    { type: 'tenant.resumed', data: { suspended_seconds: expect.any(Number) } },
  ])
  const possible = Array.from({ length: wholeS + 1 }, (_, seconds) => seconds)
  expect(possible).toContain(told[1]!.data.suspended_seconds)
})
