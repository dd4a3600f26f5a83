/** A message is changed while workers have some of it: what they give back is changed then, and the rest is not changed again. */
import { createIdSource, type Uuid } from '@valija/core'
import {
  acceptMessages,
  type Database,
  encodeBody,
  leaseDeliveries,
  openDatabase,
  openWake,
  releaseLeases,
  type Wake,
} from '@valija/store'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import { createMessageDesk } from './change-message.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let made: TestDatabase
let database: Database
let wake: Wake

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  wake = await openWake(made.url, () => {})
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(() => database.engine.query('DELETE FROM valija.deliveries'))
afterAll(async () => {
  await wake.close()
  await database.close()
  await made.drop()
})

/** A message to so many, the first of which is leased. */
async function acceptWithLease(count: number) {
  const { recipients: some, ...rest } = makeMessage(nextId, tenantId)
  const recipients = Array.from({ length: count }, (_, index) => ({
    ...some[0]!,
    id: nextId(),
    email: `r${index}@example.org`,
  }))
  const message = {
    ...rest,
    recipients,
    body: encodeBody({ kind: 'raw', needsSmtpUtf8: false, bytes: Buffer.from('Subject: x\r\n\r\n') }),
  }
  await acceptMessages(database.engine, [message], { directShare: 1_000 })
  const ids = recipients.map(({ id }) => id)
  const { deliveries } = await leaseDeliveries(database.engine, [ids[0]!])
  return { id: message.id, ids, lease: deliveries[0]! }
}

const openDesk = () =>
  createMessageDesk({ database, wake, nextId, clock: { nowMs: Date.now }, mailLog: { ended: () => {} } })

/** The numbers of the events that tell of a move. */
async function toldOf(messageId: Uuid): Promise<number[]> {
  const { rows } = await database.engine.query<{ seq: number }>(
    "SELECT (data->>'seq')::int AS seq FROM valija.events WHERE message_id = $1 AND type = 'message.scheduled' ORDER BY id",
    [messageId],
  )
  return rows.map(({ seq }) => seq)
}

test.each([
  ['to another time', () => new Date(Date.now() + 3_600_000)],
  ['to now', () => null],
])('what is moved %s is moved once, however long a worker keeps the rest', async (_, sendAt) => {
  const { id, ids } = await acceptWithLease(3)
  await openDesk().move(tenantId, id, sendAt())
  expect(await toldOf(id)).toEqual([2, 2])
  const { rows } = await database.engine.query(
    'SELECT seq FROM valija.recipients WHERE id = ANY ($1) ORDER BY ordinal',
    [ids],
  )
  expect(rows.map(({ seq }) => seq)).toEqual([1, 2, 2])
})

test('what is admitted after its move to now stays admitted while a worker keeps the rest', async () => {
  const { id, ids } = await acceptWithLease(2)
  const moved = openDesk().move(tenantId, id, null)
  const admitted = await until('it is moved, and admitted', async () => {
    const { rowCount } = await database.engine.query(
      "UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1 AND state = 'waiting'",
      [ids[1]],
    )
    return rowCount === 1
  })
  expect(admitted).toBe(true)
  await moved
  const { rows } = await database.engine.query(
    'SELECT state FROM valija.deliveries WHERE recipient_id = $1',
    [ids[1]],
  )
  expect(rows).toEqual([{ state: 'admitted' }])
})

test('what a worker gives back meanwhile is moved as well, once', async () => {
  const { id, lease } = await acceptWithLease(2)
  const moved = openDesk().move(tenantId, id, new Date(Date.now() + 3_600_000))
  await until('the other is moved', async () => (await toldOf(id)).length === 1)
  await releaseLeases(database.engine, [lease], { dueInMs: 3_000, hold: null })
  await moved
  expect(await toldOf(id)).toEqual([2, 2])
})

test('workers are asked for the rest each time: one that did not hear it at first gives back what it has', async () => {
  const { id, ids, lease } = await acceptWithLease(2)
  let heard = 0
  onTestFinished(
    wake.on('recall', (meant) => {
      if (meant !== id) return
      heard += 1
      if (heard === 2) void releaseLeases(database.engine, [lease], { dueInMs: 3_000, hold: null })
    }),
  )
  await openDesk().move(tenantId, id, new Date(Date.now() + 3_600_000))
  expect(heard).toBeGreaterThanOrEqual(2)
  expect(await toldOf(id)).toHaveLength(ids.length)
})
