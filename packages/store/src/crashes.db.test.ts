/** What is counted against a mail whose workers ended, and what is known of the one that was about to be over. */
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { countSuspects, releaseExpiredLeases } from './admission.ts'
import { type Database, openDatabase } from './database.ts'
import { isDotMarked, leaseDeliveries, markDots } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'

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

/** Tried, and due again at once. */
function deferred({ id, tenantId, recipients }: NewMessage, epoch: number): Settlement {
  return {
    recipientId: recipients[0]!.id,
    messageId: id,
    tenantId,
    epoch,
    isSensitive: false,
    isFact: false,
    change: { to: 'deferred', from: ['queued'] },
    reason: 'network',
    reply: null,
    enhancedStatus: null,
    attempts: 1,
    retrySteps: 1,
    nextInMs: 0,
    deliveredAt: null,
    sizeBytes: null,
    seq: 3,
    mailboxFault: null,
    attempt: null,
    events: [],
  }
}

test('a lease that runs out counts as a crash of its mail, until an attempt ends', async () => {
  const message = makeMessage(nextId, await newTenant())
  await acceptMessages(database.engine, [message], { directShare: 9 })
  const id = message.recipients[0]!.id
  const runOut = async () => {
    await database.engine.query(
      `UPDATE valija.deliveries SET leased_until = now() - interval '3 s' WHERE recipient_id = $1`,
      [id],
    )
    const seen = await until('the sweep finds the lease', async () => {
      const released = await releaseExpiredLeases(database.engine)
      return released.count > 0 ? released : null
    })
    await database.engine.query(
      `UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1`,
      [id],
    )
    return seen.suspects
  }
  const lease = async () => (await leaseDeliveries(database.engine, [id])).deliveries[0]!
  const suspects: number[] = []
  for (const crashes of [0, 1, 2]) {
    expect(await lease()).toMatchObject({ crashes })
    suspects.push(await runOut())
  }
  expect([suspects, await countSuspects(database.engine)]).toEqual([[0, 0, 1], 1])
  const suspect = await lease()
  expect(suspect).toMatchObject({ crashes: 3, epoch: 4 })
  await settleAttempts(database.engine, [deferred(message, 4)])
  expect(await countSuspects(database.engine)).toBe(0)
})

test('a marked final dot is known to every later lease, however many end without a result, until an attempt ends', async () => {
  const message = makeMessage(nextId, await newTenant())
  await acceptMessages(database.engine, [message], { directShare: 9 })
  const id = message.recipients[0]!.id
  const again = async () => {
    await database.engine.query(`UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1`, [
      id,
    ])
    return (await leaseDeliveries(database.engine, [id])).deliveries[0]!
  }
  const first = await again()
  expect(first).toMatchObject({ epoch: 1, isPastDot: false, atMostOnce: false })
  expect(await markDots(database.engine, [{ recipientId: id, epoch: 9 }])).toEqual(new Set())
  expect(await isDotMarked(database.engine, first)).toBe(false)
  expect(await markDots(database.engine, [first])).toEqual(new Set([id]))
  expect(await isDotMarked(database.engine, first)).toBe(true)
  await database.engine.query('UPDATE valija.tenants SET at_most_once = true WHERE id = $1', [
    message.tenantId,
  ])
  expect(await again()).toMatchObject({ epoch: 2, isPastDot: true, atMostOnce: true })
  // That worker ended as well, or gave the mail back.
  const third = await again()
  expect(third).toMatchObject({ epoch: 3, isPastDot: true })
  expect(await isDotMarked(database.engine, third)).toBe(true)
  await settleAttempts(database.engine, [deferred(message, 3)])
  expect(await again()).toMatchObject({ epoch: 4, isPastDot: false })
})
