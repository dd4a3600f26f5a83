/** What a pause of bulk mail holds back, and what is left of it when it is over: on a real PostgreSQL. */
import { createIdSource, type Stream, type Uuid } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { acceptMessages } from './accept-messages.ts'
import { findWaitingStreams, msUntilDue, oldestDueMs } from './admission.ts'
import { moveMessage } from './change-message.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { pauseBulk, resumeBulk } from './pause-bulk.ts'
import { findMessage } from './read-messages.ts'
import { setSuspended } from './suspend-tenant.ts'

const nextId = createIdSource(() => Date.now())
const hourMs = 3_600_000
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

const words = { explanation: 'Why.', remedy: 'What to do.' }
const pause = (tenantId: Uuid) => pauseBulk(database.engine, tenantId, { reason: 'operator' }, words)
const resume = (tenantId: Uuid) => resumeBulk(database.engine, tenantId)

/** Accepts a mail, which may be admitted at once; its state. */
async function accept(tenantId: Uuid, stream: Stream): Promise<{ id: Uuid; state: string }> {
  const message = makeMessage(nextId, tenantId, { stream, expiresAtMs: Date.now() + hourMs })
  await acceptMessages(database.engine, [message], { directShare: 100 })
  const { id } = message.recipients[0]!
  return { id, state: await stateOf(id) }
}

async function stateOf(id: Uuid): Promise<string> {
  const rows = await sql<{ state: string }>('SELECT state FROM valija.deliveries WHERE recipient_id = $1', [
    id,
  ])
  return rows[0]!.state
}

const waiting = async (tenantId: Uuid) =>
  (await findWaitingStreams(database.engine))
    .filter((stream) => stream.tenantId === tenantId)
    .map(({ stream }) => stream)

describe('while bulk mail is held', () => {
  test('none of it is admitted, and it is no reason to look or to alarm; other mail goes on at once', async () => {
    const tenantId = await newTenant()
    const before = await accept(tenantId, 'bulk')
    expect(before.state).toBe('admitted')
    await pause(tenantId)
    expect(await stateOf(before.id)).toBe('waiting')
    expect((await accept(tenantId, 'bulk')).state).toBe('waiting')
    expect(await waiting(tenantId)).toEqual([])
    expect(await msUntilDue(database.engine)).toBeNull()
    expect(await oldestDueMs(database.engine)).toEqual({ transactional: 0, bulk: 0 })
    const code = await accept(tenantId, 'transactional')
    expect(code.state).toBe('admitted')
    await sql(`UPDATE valija.deliveries SET state = 'waiting' WHERE recipient_id = $1`, [code.id])
    expect(await waiting(tenantId)).toEqual(['transactional'])
    expect(await msUntilDue(database.engine)).toBeLessThanOrEqual(0)
    await sql(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1`, [code.id])
    await resume(tenantId)
    expect(await waiting(tenantId)).toEqual(['bulk'])
    await sql('DELETE FROM valija.deliveries')
  })

  test('done twice it is done once, and so is the end of it', async () => {
    const tenantId = await newTenant()
    const beganMs = performance.now()
    expect([(await pause(tenantId)).isChanged, (await pause(tenantId)).isChanged]).toEqual([true, false])
    expect([(await resume(tenantId)).isChanged, (await resume(tenantId)).isChanged]).toEqual([true, false])
    const wholeS = Math.floor((performance.now() - beganMs) / 1_000)
    const told = await sql<{ type: string; data: Record<string, unknown> }>(
      'SELECT type, data FROM valija.events WHERE tenant_id = $1 ORDER BY transaction, id',
      [tenantId],
    )
    expect(told).toEqual([
      { type: 'tenant.paused', data: { stream: 'bulk', reason: 'operator', ...words } },
      { type: 'tenant.resumed', data: { stream: 'bulk', paused_seconds: expect.any(Number) } },
    ])
    const possible = Array.from({ length: wholeS + 1 }, (_, seconds) => seconds)
    expect(possible).toContain(told[1]!.data.paused_seconds)
  })
})

describe('its time', () => {
  /** When a recipient's time is over, in hours from now. */
  async function expiryOf(id: Uuid): Promise<number> {
    await sql(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1`, [id])
    const { deliveries } = await leaseDeliveries(database.engine, [id])
    return Math.round(((deliveries[0]!.expiresAt.getTime() - Date.now()) / hourMs) * 10) / 10
  }
  const lasted = (
    tenantId: Uuid,
    beganHoursAgo: number,
    endedHoursAgo: number | null,
    stream: Stream | null,
  ) =>
    sql(
      `INSERT INTO valija.tenant_suspensions (tenant_id, began_at, ended_at, stream)
       VALUES ($1, now() - make_interval(mins => $2), now() - make_interval(mins => $3), $4)`,
      [tenantId, beganHoursAgo * 60, endedHoursAgo === null ? null : endedHoursAgo * 60, stream],
    )
  /** Accepted so many hours ago, with a time of ten hours. */
  async function acceptedAgo(tenantId: Uuid, hours: number, stream: Stream): Promise<Uuid> {
    const makeId = createIdSource(() => Date.now() - hours * hourMs)
    const message = makeMessage(makeId, tenantId, { stream, expiresAtMs: Date.now() + (10 - hours) * hourMs })
    await acceptMessages(database.engine, [message], { directShare: 0 })
    return message.recipients[0]!.id
  }

  test('does not run on for bulk mail, and does for other mail', async () => {
    const tenantId = await newTenant()
    const [bulk, code] = [
      await acceptedAgo(tenantId, 8, 'bulk'),
      await acceptedAgo(tenantId, 8, 'transactional'),
    ]
    await sql('UPDATE valija.tenants SET was_suspended = true WHERE id = $1', [tenantId])
    await lasted(tenantId, 6, 1, 'bulk')
    expect(await expiryOf(bulk)).toBe(7)
    expect(await expiryOf(code)).toBe(2)
  })

  test('is longer only by what it met, and by what pauses have in common once', async () => {
    const tenantId = await newTenant()
    const [old, late] = [await acceptedAgo(tenantId, 8, 'bulk'), await acceptedAgo(tenantId, 3, 'bulk')]
    const after = await acceptedAgo(tenantId, 1, 'bulk')
    await sql('UPDATE valija.tenants SET was_suspended = true WHERE id = $1', [tenantId])
    await lasted(tenantId, 6, 2, 'bulk')
    await lasted(tenantId, 5, 4, null)
    expect(await expiryOf(old)).toBe(6)
    expect(await expiryOf(late)).toBe(8)
    expect(await expiryOf(after)).toBe(9)
  })

  /** Accepted ten hours ago, to be sent so many hours ago, with a time of ten hours from then on. */
  async function scheduledAgo(tenantId: Uuid, hours: number) {
    const sendAtMs = Date.now() - hours * hourMs
    const makeId = createIdSource(() => Date.now() - 10 * hourMs)
    const expiresAtMs = sendAtMs + 10 * hourMs
    const message = makeMessage(makeId, tenantId, { stream: 'bulk', sendAtMs, expiresAtMs })
    await acceptMessages(database.engine, [message], { directShare: 0 })
    return { message, id: message.recipients[0]!.id }
  }

  test('counts from the time for which it was scheduled: what was over before is not met, the rest of what was not is', async () => {
    const tenantId = await newTenant()
    const [past, amid] = [await scheduledAgo(tenantId, 1), await scheduledAgo(tenantId, 5)]
    await sql('UPDATE valija.tenants SET was_suspended = true WHERE id = $1', [tenantId])
    await lasted(tenantId, 8, 7, 'bulk')
    await lasted(tenantId, 6, 3, null)
    expect(await expiryOf(past.id)).toBe(9)
    expect(await expiryOf(amid.id)).toBe(7)
    const shown = await findMessage(database, tenantId, past.message.id)
    expect(Math.round((shown!.expiresAt.getTime() - Date.now()) / hourMs)).toBe(9)
  })

  test('counts from its last move: what it had met before is not added once more', async () => {
    const tenantId = await newTenant()
    const { message, id } = await scheduledAgo(tenantId, 8)
    await sql('UPDATE valija.tenants SET was_suspended = true WHERE id = $1', [tenantId])
    await lasted(tenantId, 6, 1, 'bulk')
    const move = { startMs: Date.now(), isAtOnce: true, isChanged: () => false, redate: () => null }
    await moveMessage(database, { tenantId, messageId: message.id }, move, ({ id: messageId }, _, seq) => ({
      id: nextId(),
      tenantId,
      type: 'message.scheduled',
      messageId,
      createdAtMs: Date.now(),
      data: { seq },
    }))
    expect(await expiryOf(id)).toBe(10)
  })

  test('goes on when the tenant is suspended besides, until both are over', async () => {
    const tenantId = await newTenant()
    await pause(tenantId)
    await setSuspended(database, tenantId, true)
    await setSuspended(database, tenantId, false)
    const rows = await sql(
      'SELECT stream FROM valija.tenant_suspensions WHERE tenant_id = $1 AND ended_at IS NULL',
      [tenantId],
    )
    expect(rows).toEqual([{ stream: 'bulk' }])
  })

  test('begins and ends any number of times in the same moment, beside a suspension', async () => {
    const tenantId = await newTenant()
    const count = 20
    for (let n = 0; n < count; n += 1) {
      await pause(tenantId)
      await setSuspended(database, tenantId, true)
      await setSuspended(database, tenantId, false)
      await resume(tenantId)
    }
    const rows = await sql(
      `SELECT stream, count(*)::int, bool_and(ended_at IS NOT NULL) AS "areOver" FROM valija.tenant_suspensions
       WHERE tenant_id = $1 GROUP BY stream ORDER BY stream`,
      [tenantId],
    )
    expect(rows).toEqual([
      { stream: 'bulk', count, areOver: true },
      { stream: null, count, areOver: true },
    ])
    const seconds = await sql<{ value: number }>(
      `SELECT coalesce(data ->> 'paused_seconds', data ->> 'suspended_seconds')::int AS value FROM valija.events
       WHERE tenant_id = $1 AND type = 'tenant.resumed'`,
      [tenantId],
    )
    expect(Math.min(...seconds.map(({ value }) => value))).toBe(0)
  })
})
