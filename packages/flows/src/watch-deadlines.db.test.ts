/** Who is late is told of once, and whose time is over ends, at the time and whatever it waits for: on a real PostgreSQL, without anybody who delivers. */
import { createIdSource, createJudge, loadReplyRules, type Uuid } from '@valija/core'
import {
  acceptMessages,
  type Database,
  type LeasedDelivery,
  leaseDeliveries,
  moveMessage,
  msUntilDeadline,
  type NewMessage,
  openDatabase,
  openWake,
  readmit,
  settleAttempts,
  type Wake,
} from '@valija/store'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import { discard, expire } from './judge-attempt.ts'
import {
  announceLimits,
  createDeadlineWatch,
  type DeadlineWatch,
  type DeadlineWatchDependencies,
} from './watch-deadlines.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const judging = {
  nextId,
  nowMs: Date.now,
  judge: createJudge(loadReplyRules()),
  retryPolicy: { networkScheduleMs: [60_000] },
  random: () => 0.5,
}
let made: TestDatabase
let database: Database
let wake: Wake
const watches: DeadlineWatch[] = []

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  wake = await openWake(made.url, () => {})
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(async () => {
  await Promise.all(watches.splice(0).map((watch) => watch.stop()))
  await database.engine.query('DELETE FROM valija.deliveries')
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await made.drop()
})

/** Ends what it leases as a worker does. */
async function endExpired(ids: Uuid[]): Promise<number> {
  const { deliveries } = await leaseDeliveries(database.engine, ids)
  const over = deliveries.filter(({ isExpired }) => isExpired)
  if (over.length > 0)
    await settleAttempts(
      database.engine,
      over.map((delivery) => expire(judging, delivery)),
    )
  return over.length
}

function startWatch(more: Partial<DeadlineWatchDependencies> = {}): DeadlineWatch {
  const watch = createDeadlineWatch({
    database,
    wake,
    nextId,
    clock: { nowMs: Date.now },
    explain: async () => null,
    endExpired,
    onError: () => undefined,
    ...more,
  })
  watches.push(watch)
  watch.start()
  return watch
}

async function accept(more: Partial<NewMessage>, count = 1) {
  const { recipients: some, ...rest } = makeMessage(nextId, tenantId, more)
  const recipients = Array.from({ length: count }, (_, index) => ({
    ...some[0]!,
    id: nextId(),
    email: `r${index}@example.org`,
  }))
  const message: NewMessage = { ...rest, recipients }
  await acceptMessages(database.engine, [message], { directShare: 0 })
  announceLimits(wake, [message])
  return { message, ids: recipients.map(({ id }) => id) }
}

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

interface Told {
  data: Record<string, unknown>
  afterMs: number
}

/** The events of a type about a message, and how long after a time each was committed at the latest. */
async function toldOf({ id }: NewMessage, type: string, sinceMs = 0): Promise<Told[]> {
  const { rows } = await database.engine.query(
    'SELECT data, created_at AS at FROM valija.events WHERE message_id = $1 AND type = $2 ORDER BY id',
    [id, type],
  )
  return rows.map(({ data, at }) => ({ data, afterMs: (at as Date).getTime() - sinceMs }))
}

const lateAt = (inMs: number) => Date.now() + inMs

test('each recipient that is not handed off is told of once when its limit is over, by whichever of several workers', async () => {
  for (let worker = 0; worker < 3; worker++) startWatch()
  const lateAtMs = lateAt(700)
  const { message, ids } = await accept({ lateAtMs, createdAtMs: lateAtMs - 60_000 }, 30)
  const told = await until('all are told of', async () => {
    const found = await toldOf(message, 'message.late', lateAtMs)
    return found.length >= 30 && found
  })
  expect(told).toHaveLength(30)
  for (const { afterMs, data } of told) {
    expect(afterMs).toBeGreaterThanOrEqual(0)
    expect(data).toMatchObject({ seq: 2, not_handed_off_within: 60, status: 'queued', attempts: 0 })
  }
  const { rows } = await database.engine.query(
    'SELECT DISTINCT seq, status FROM valija.recipients WHERE id = ANY ($1)',
    [ids],
  )
  expect(rows).toEqual([{ seq: 2, status: 'queued' }])
})

test('one that a worker holds is told of as well, and its result counts on from there', async () => {
  const lateAtMs = lateAt(500)
  const { message, ids } = await accept({ lateAtMs })
  await database.engine.query(
    "UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = ANY ($1)",
    [ids],
  )
  const [delivery] = (await leaseDeliveries(database.engine, ids)).deliveries as [LeasedDelivery]
  startWatch()
  const [late] = await until('it is told of', async () => {
    const found = await toldOf(message, 'message.late')
    return found.length > 0 && found
  })
  expect(late?.data).toMatchObject({ seq: 2, status: 'sending' })
  await settleAttempts(database.engine, [expire(judging, delivery)])
  expect((await toldOf(message, 'message.failed'))[0]?.data).toMatchObject({ seq: 3 })
})

test('one that a worker holds while its message is moved is told of with its own limit, the other with the same from its new time', async () => {
  const createdAtMs = Date.now() - 60_000
  const { message, ids } = await accept(
    { createdAtMs, expiresAtMs: createdAtMs + 3_600_000, lateAtMs: createdAtMs + 61_000 },
    2,
  )
  await database.engine.query("UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = $1", [
    ids[0],
  ])
  await leaseDeliveries(database.engine, [ids[0]!])
  const move = { startMs: Date.now() - 59_000, isAtOnce: false, isChanged: () => false, redate: () => null }
  const outcome = await moveMessage(
    database,
    { tenantId, messageId: message.id },
    move,
    ({ id }, _, seq) => ({
      id: nextId(),
      tenantId,
      type: 'message.scheduled',
      messageId: id,
      createdAtMs: Date.now(),
      data: { seq },
    }),
  )
  expect(outcome?.changed.map(({ id }) => id)).toEqual([ids[1]])
  startWatch()
  const told = await until('both are told of', async () => {
    const found = await toldOf(message, 'message.late')
    return found.length === 2 && found
  })
  expect(told.map(({ data }) => data.not_handed_off_within)).toEqual([61, 61])
})

test('what was handed off in time, or has its end otherwise, is not late', async () => {
  const lateAtMs = lateAt(400)
  const [ended, late] = [await accept({ lateAtMs }), await accept({ lateAtMs })]
  await database.engine.query(
    "UPDATE valija.deliveries SET state = 'admitted' WHERE recipient_id = ANY ($1)",
    [ended.ids],
  )
  const { deliveries } = await leaseDeliveries(database.engine, ended.ids)
  await settleAttempts(database.engine, deliveries.map(discard))
  startWatch()
  await until('the other', async () => (await toldOf(late.message, 'message.late')).length === 1)
  expect(await toldOf(ended.message, 'message.late')).toEqual([])
})

test('a limit that passed while nobody watched is told of by the first that does, though nobody can say why it waits', async () => {
  const { message } = await accept({ lateAtMs: lateAt(-5_000) })
  startWatch({ explain: () => Promise.reject(new Error('no answer')) })
  await until('it is told of', async () => (await toldOf(message, 'message.late')).length === 1)
})

test.each([
  ['waits for its next try', "state = 'waiting', due_at = now() + interval '1 hour'"],
  ['waits for a turn that does not come', "state = 'waiting', due_at = now() - interval '1 hour'"],
  ['was hinted to workers who do not take it', "state = 'admitted', admitted_at = now()"],
])('a mail that %s ends when its time is over, with an event', async (_, sql) => {
  // The message's own times stay far away, so that only the row's can be what is kept.
  const { message, ids } = await accept({})
  const expiresAtMs = Date.now() + 600
  await database.engine.query(
    `UPDATE valija.deliveries SET ${sql}, expires_at = to_timestamp($2) WHERE recipient_id = ANY ($1)`,
    [ids, expiresAtMs / 1_000],
  )
  startWatch()
  const [failed] = await until('its end', async () => {
    const found = await toldOf(message, 'message.failed', expiresAtMs)
    return found.length > 0 && found
  })
  expect(failed?.data).toMatchObject({ reason: 'expired', seq: 2 })
  expect(failed?.afterMs).toBeGreaterThanOrEqual(-50)
})

test('the time of a tenant that is, or was, suspended does not run on here, and keeps nobody else’s waiting', async () => {
  const [held, other] = [await accept({}), await accept({ tenantId: await newTenant() })]
  await database.engine.query(`UPDATE valija.tenants SET was_suspended = true WHERE id = $1`, [tenantId])
  await database.engine.query("UPDATE valija.deliveries SET expires_at = now() - interval '1 minute'")
  startWatch()
  await until(
    'the end of the other',
    async () => (await toldOf(other.message, 'message.failed')).length === 1,
  )
  expect(await toldOf(held.message, 'message.failed')).toEqual([])
  const ms = await msUntilDeadline(database.engine)
  expect(ms).toBeNull()
  await database.engine.query(`UPDATE valija.tenants SET was_suspended = false`)
})

test('thousands whose time is over at the same moment all end', async () => {
  const { message, ids } = await accept({}, 1_000)
  await database.engine.query(
    "UPDATE valija.deliveries SET expires_at = now() - interval '1 s' WHERE recipient_id = ANY ($1)",
    [ids],
  )
  startWatch()
  await until('all', async () => (await toldOf(message, 'message.failed')).length === 1_000)
})

async function acceptExpired(count: number): Promise<Uuid[]> {
  const { ids } = await accept({}, count)
  await database.engine.query(
    "UPDATE valija.deliveries SET expires_at = now() - interval '1 s' WHERE recipient_id = ANY ($1)",
    [ids],
  )
  return ids
}

test('is stopped while hundreds are over whose deliverer only gives them back', async () => {
  await acceptExpired(300)
  let asked = 0
  const watch = startWatch({
    endExpired: async (ids) => {
      asked += 1
      await readmit(database.engine, ids)
      return 0
    },
  })
  await until('they are found a few times', () => asked > 2)
  await watch.stop()
})

test('a round in which none ended is over: limits are told of although the ends do not come', async () => {
  await acceptExpired(300)
  const watch = startWatch({ endExpired: (ids) => readmit(database.engine, ids).then(() => 0) })
  const { message } = await accept({ lateAtMs: lateAt(-1_000) })
  await until('it is told of', async () => (await toldOf(message, 'message.late')).length === 1)
  await watch.stop()
})

test('a stop waits for no end that does not come', async () => {
  await acceptExpired(1)
  const asked = Promise.withResolvers<void>()
  const watch = startWatch({
    endExpired: () => {
      asked.resolve()
      return new Promise(() => undefined)
    },
  })
  await asked.promise
  await watch.stop()
})

/** Tells of 250 that are late, three batches; `during` happens while the first, the second … is told of. */
async function tellInBatches(during: (batch: number, watch: DeadlineWatch) => unknown) {
  const { message } = await accept({ lateAtMs: lateAt(-1_000) }, 250)
  let batch = 0
  const watch: DeadlineWatch = startWatch({
    explain: async () => {
      batch += 1
      await during(batch, watch)
      return null
    },
  })
  return { message, watch }
}

test('a stop waits for the batch of late mails that is told of, and no other is begun', async () => {
  const stopping = Promise.withResolvers<Promise<void>>()
  const { message } = await tellInBatches((_, watch) => stopping.resolve(watch.stop()))
  await await stopping.promise
  expect(await toldOf(message, 'message.late')).toHaveLength(100)
})

test('what is over ends between two batches of late mails', async () => {
  const over = await accept({ tenantId: await newTenant() })
  const ended: number[] = []
  const { message } = await tellInBatches(async (batch) => {
    if (batch === 1)
      await database.engine.query(
        "UPDATE valija.deliveries SET expires_at = now() - interval '1 s' WHERE recipient_id = ANY ($1)",
        [over.ids],
      )
    ended.push((await toldOf(over.message, 'message.failed')).length)
  })
  await until('all are told of', async () => (await toldOf(message, 'message.late')).length === 250)
  expect(ended).toEqual([0, 1, 1])
})
