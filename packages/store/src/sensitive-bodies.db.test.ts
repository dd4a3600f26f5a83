/** Bodies of sensitive messages are there as long as somebody is to be sent to, and no longer. */
import { createIdSource, type RecipientState, type Uuid } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { cancelMessage } from './change-message.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { sweepSensitiveBodies } from './sensitive-bodies.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let database: Database
let drop: () => Promise<void>

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function accept(count: number, status: RecipientState = 'queued', isSensitive = true) {
  const { recipients: some, ...made } = makeMessage(nextId, tenantId, { isSensitive })
  const recipients = Array.from({ length: count }, () => ({ ...some[0]!, id: nextId(), status }))
  const message: NewMessage = { ...made, recipients }
  await acceptMessages(database.engine, [message], { directShare: 1_000_000 })
  const ids = recipients.map(({ id }) => id)
  await leaseDeliveries(database.engine, ids)
  return { message, ids }
}

const hasBody = async ({ id }: NewMessage) =>
  (await database.engine.query('SELECT FROM valija.bodies WHERE message_id = $1', [id])).rowCount === 1

function ending(message: NewMessage, recipientId: Uuid, to: RecipientState): Settlement {
  return {
    recipientId,
    messageId: message.id,
    tenantId,
    epoch: 1,
    isSensitive: message.isSensitive,
    isFact: false,
    change: { to, from: ['queued'] },
    reason: null,
    reply: null,
    enhancedStatus: null,
    attempts: 1,
    retrySteps: 1,
    nextInMs: to === 'deferred' ? 60_000 : null,
    deliveredAt: null,
    sizeBytes: null,
    seq: 1,
    mailboxFault: null,
    attempt: null,
    events: [],
  }
}

test.each(['delivered', 'bounced', 'failed', 'suppressed'] as const)(
  'the body goes with the last recipient’s end, which is %s; a deferred one keeps it',
  async (end) => {
    const { message, ids } = await accept(3)
    await settleAttempts(database.engine, [ending(message, ids[0]!, end)])
    await settleAttempts(database.engine, [ending(message, ids[1]!, 'deferred')])
    expect(await hasBody(message)).toBe(true)
    await settleAttempts(database.engine, [ending(message, ids[2]!, 'delivered')])
    expect(await hasBody(message)).toBe(true)
    await database.engine.query("UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1", [
      ids[1],
    ])
    await leaseDeliveries(database.engine, [ids[1]!])
    const last = {
      ...ending(message, ids[1]!, end),
      epoch: 2,
      change: { to: end, from: ['deferred'] as const },
    }
    await settleAttempts(database.engine, [last])
    expect(await hasBody(message)).toBe(false)
  },
)

test('recipients that end at the same moment leave no body behind', async () => {
  for (let round = 0; round < 20; round++) {
    const { message, ids } = await accept(4)
    await Promise.all(ids.map((id) => settleAttempts(database.engine, [ending(message, id, 'delivered')])))
    expect(await hasBody(message)).toBe(false)
  }
})

test('a cancelled message has no body any more', async () => {
  const { message, ids } = await accept(2)
  await settleAttempts(database.engine, [ending(message, ids[0]!, 'delivered')])
  await database.engine.query("UPDATE valija.deliveries SET state = 'waiting' WHERE recipient_id = $1", [
    ids[1],
  ])
  await cancelMessage(database, { tenantId, messageId: message.id }, (held, recipient, seq) => ({
    id: nextId(),
    tenantId,
    type: 'message.cancelled',
    messageId: held.id,
    createdAtMs: Date.now(),
    data: { email: recipient.email, seq },
  }))
  expect(await hasBody(message)).toBe(false)
})

test('where nobody is to be sent to from the beginning, the body is never stored', async () => {
  expect(await hasBody((await accept(1, 'suppressed')).message)).toBe(false)
})

test('housekeeping drops what a worker of the version before left, once nobody is to be sent to any more', async () => {
  const { message, ids } = await accept(2)
  const other = await accept(1, 'queued', false)
  // Such a worker does not know what `sensitive` is.
  const settleAsBefore = (id: Uuid) =>
    settleAttempts(database.engine, [{ ...ending(message, id, 'delivered'), isSensitive: false }])
  const sweep = async () => {
    while ((await sweepSensitiveBodies(database.engine)) > 0);
  }
  await settleAsBefore(ids[0]!)
  await sweep()
  expect(await hasBody(message)).toBe(true)
  await settleAsBefore(ids[1]!)
  expect(await hasBody(message)).toBe(true)
  await sweep()
  expect(await hasBody(message)).toBe(false)
  await settleAttempts(database.engine, [ending(other.message, other.ids[0]!, 'delivered')])
  await sweep()
  expect(await hasBody(other.message)).toBe(true)
  const left = await database.engine.query('SELECT FROM valija.sensitive_messages WHERE message_id = $1', [
    message.id,
  ])
  expect(left.rowCount).toBe(0)
})

test('the bodies of all others stay', async () => {
  const { message, ids } = await accept(1, 'queued', false)
  await settleAttempts(database.engine, [ending(message, ids[0]!, 'delivered')])
  expect(await hasBody(message)).toBe(true)
  expect(await hasBody((await accept(1, 'suppressed', false)).message)).toBe(true)
})
