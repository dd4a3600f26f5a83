/** What is admitted at once, what waits, and what the dispatcher then admits: on a real PostgreSQL. */
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import {
  admitRows,
  countInFlight,
  findEndsOfLooks,
  findWaitingStreams,
  type LookOf,
  msUntilDue,
  oldest,
} from './admission.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'

let database: Database
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

const newMessage = (tenantId: Uuid, more: Partial<NewMessage> = {}) => makeMessage(nextId, tenantId, more)

const recipientOf = (message: NewMessage): Uuid => message.recipients[0]!.id

describe('a message to more recipients than its tenant’s share has room for', () => {
  test('is admitted in part, a code before bulk mail; the rest waits for the dispatcher', async () => {
    const tenantId = await newTenant()
    const toMany = (stream: 'bulk' | 'transactional', count: number) => {
      const message = newMessage(tenantId, { stream })
      const recipients = Array.from({ length: count }, () => ({ ...message.recipients[0]!, id: nextId() }))
      return { ...message, recipients }
    }
    const [bulk, code] = [toMany('bulk', 10), toMany('transactional', 1)]
    const { results, hasWaiting } = await acceptMessages(database.engine, [bulk, code], { directShare: 4 })
    expect(hasWaiting).toBe(true)
    expect(results.map((result) => (result.kind === 'accepted' ? result.admitted : []))).toEqual([
      bulk.recipients.slice(0, 3).map(({ id }) => id),
      [recipientOf(code)],
    ])
  })

  test('is not admitted past what its tenant may have in flight, nor past what may be admitted of all', async () => {
    const tenantId = await newTenant()
    const admittedOf = async (limits: { directShare: number }) => {
      const { results } = await acceptMessages(database.engine, [newMessage(tenantId)], limits)
      return results.flatMap((result) => (result.kind === 'accepted' ? result.admitted : []))
    }
    // Two are leased, two more admitted: twice its share.
    const own = [...(await admittedOf({ directShare: 2 })), ...(await admittedOf({ directShare: 2 }))]
    await leaseDeliveries(database.engine, own)
    expect(await admittedOf({ directShare: 2 })).toHaveLength(1)
    expect(await admittedOf({ directShare: 2 })).toHaveLength(1)
    expect(await admittedOf({ directShare: 2 })).toEqual([])
    await database.engine.query('DELETE FROM valija.deliveries WHERE tenant_id = $1', [tenantId])
    const otherTenant = await newTenant()
    const others = Array.from({ length: 256 }, () => newMessage(otherTenant))
    await acceptMessages(database.engine, others, { directShare: 1_000 })
    expect(await admittedOf({ directShare: 1_000 })).toEqual([])
    await database.engine.query('DELETE FROM valija.deliveries WHERE tenant_id = $1', [otherTenant])
  })
})

describe('waiting rows', () => {
  test('are found per tenant and stream, and admitted oldest first up to the quota', async () => {
    const tenantId = await newTenant()
    const messages = [1, 2, 3].map(() => newMessage(tenantId, { stream: 'bulk' }))
    for (const message of messages) await acceptMessages(database.engine, [message], { directShare: 0 })
    const waiting = await findWaitingStreams(database.engine)
    expect(waiting).toContainEqual({ tenantId, weight: 1, stream: 'bulk' })
    expect(waiting.some((share) => share.tenantId === tenantId && share.stream === 'transactional')).toBe(
      false,
    )
    expect(await msUntilDue(database.engine)).toBeLessThanOrEqual(0)
    const quota = { tenantId, stream: 'bulk' as const, count: 2, perDomain: 2 }
    const admitted = await admitRows(database.engine, [quota], [], oldest(8))
    expect(new Set(admitted.map((row) => row.recipientId))).toEqual(
      new Set(messages.slice(0, 2).map(recipientOf)),
    )
  })

  test('are counted while they are in flight, and for one domain no more are admitted than may be', async () => {
    const tenantId = await newTenant()
    const deadFirst = ['dead', 'dead', 'dead', 'dead', 'good'].map((domain) => {
      const message = newMessage(tenantId, { stream: 'bulk' })
      return { ...message, recipients: message.recipients.map((recipient) => ({ ...recipient, domain })) }
    })
    for (const message of deadFirst) await acceptMessages(database.engine, [message], { directShare: 0 })
    const quota = { tenantId, stream: 'bulk' as const, count: 1, perDomain: 2 }
    const inFlight = async () =>
      (await countInFlight(database.engine)).filter((entry) => entry.tenantId === tenantId)
    const admit = async (look: LookOf) =>
      (await admitRows(database.engine, [quota], await inFlight(), look)).map((row) => row.recipientId)
    const all: LookOf = () => ({ from: null, rows: null })

    expect([...(await admit(oldest(1))), ...(await admit(oldest(1)))]).toEqual(
      deadFirst.slice(0, 2).map(recipientOf),
    )
    expect(await inFlight()).toEqual([{ tenantId, stream: 'bulk', domain: 'dead', admitted: 2, leased: 0 }])
    // Two of them stand in front of the other domain's.
    expect(await admit(oldest(2))).toEqual([])
    expect(await admit(all)).toEqual([recipientOf(deadFirst[4]!)])
    expect(await admit(all)).toEqual([])
  })

  test('are looked at in slices, from a time on, and each tells where the next one begins', async () => {
    const tenantId = await newTenant()
    const messages = Array.from({ length: 5 }, () => newMessage(tenantId, { stream: 'bulk' }))
    for (const message of messages) await acceptMessages(database.engine, [message], { directShare: 0 })
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second))
    for (const [index, message] of messages.entries())
      await database.engine.query('UPDATE valija.deliveries SET due_at = $1 WHERE recipient_id = $2', [
        at(index < 3 ? 1 : index),
        recipientOf(message),
      ])
    const quota = { tenantId, stream: 'bulk' as const, count: 9, perDomain: 9 }
    const endOf = async (from: Date | null, rows: number) =>
      (await findEndsOfLooks(database.engine, [quota], () => ({ from, rows })))[0]
    expect(await endOf(null, 2)).toEqual(at(1))
    expect(await endOf(at(1), 3)).toEqual(at(3))
    expect(await endOf(at(3), 1)).toEqual(at(4))
    expect(await endOf(at(3), 2)).toBe(null)
    const other = { ...quota, stream: 'transactional' as const }
    expect(await findEndsOfLooks(database.engine, [other, quota], () => ({ from: null, rows: 4 }))).toEqual([
      null,
      at(4),
    ])
    const admitted = await admitRows(database.engine, [quota], [], () => ({ from: at(3), rows: 1 }))
    expect(admitted.map(({ recipientId }) => recipientId)).toEqual([recipientOf(messages[3]!)])
  })

  test('counts what a worker holds for as long as it renews: a dead one’s rows take nobody’s place', async () => {
    const tenantId = await newTenant()
    const messages = Array.from({ length: 2 }, () => newMessage(tenantId))
    for (const message of messages) await acceptMessages(database.engine, [message], { directShare: 9 })
    await leaseDeliveries(database.engine, messages.map(recipientOf))
    const leased = async () =>
      (await countInFlight(database.engine)).flatMap((entry) =>
        entry.tenantId === tenantId ? entry.leased : [],
      )
    expect(await leased()).toEqual([2])
    // Its worker was killed 14 s ago, after its last renewal.
    await database.engine.query(
      `UPDATE valija.deliveries SET leased_until = now() + interval '16 seconds' WHERE recipient_id = $1`,
      [recipientOf(messages[0]!)],
    )
    expect(await leased()).toEqual([1])
  })
})
