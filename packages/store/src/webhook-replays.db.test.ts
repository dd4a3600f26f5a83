/** Replays: in steps that a crash cannot tear, in the order of the stream, and no event twice that waits already. */
import { createIdSource, type EventType, type Uuid } from '@valija/core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { untilShown } from '../../../tests/support/shown-events.ts'
import { type Database, openDatabase } from './database.ts'
import { eventExpressions, eventParameters } from './new-events.ts'
import { claimWebhooks } from './webhook-outbox.ts'
import {
  continueWebhook,
  endContinuation,
  listWebhookReplays,
  type ReplayProgress,
  replayEvent,
  replayRange,
  replayWaiting,
  stepWebhookReplay,
} from './webhook-replays.ts'
import { findWebhook, updateWebhook } from './webhooks.ts'

const nextId = createIdSource(() => Date.now())
const [tenantId, strangerId] = [nextId(), nextId()]
const hourMs = 3_600_000

let testDatabase: TestDatabase
let database: Database
beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme'), ($2, 'other')", [
    tenantId,
    strangerId,
  ])
})
afterEach(async () => {
  await database.engine.query('DELETE FROM valija.webhooks')
  await database.engine.query('DELETE FROM valija.events')
})
afterAll(async () => {
  await database.close()
  await testDatabase.drop()
})

async function endpoint(events = ['*'], tags: string[] = []): Promise<Uuid> {
  const id = nextId()
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, tags, secret) VALUES ($1, $2, 'http://a.test/', $3, $4, '')`,
    [id, tenantId, events, tags],
  )
  return id
}

/** What a range tells is what `GET /events` shows: so long is waited for. */
const emit = async (...events: Parameters<typeof write>): Promise<Uuid[]> => {
  const ids = await write(...events)
  await shown()
  return ids
}
const shown = () => untilShown(async (sql) => (await database.engine.query(sql)).rows)
async function write(
  count: number,
  type: EventType = 'message.accepted',
  tenant = tenantId,
  agoMs = 0,
): Promise<Uuid[]> {
  const idThen = createIdSource(() => Date.now() - agoMs)
  const events = Array.from({ length: count }, () => ({
    id: idThen(),
    tenantId: tenant,
    type,
    messageId: null,
    createdAtMs: Date.now() - agoMs,
    data: { tags: ['a'] },
  }))
  await database.engine.query(
    `WITH ${eventExpressions(1)} SELECT count(*) FROM outbox`,
    eventParameters(events),
  )
  return events.map((event) => event.id)
}

const forget = () => database.engine.query('DELETE FROM valija.webhook_outbox')
/** As a worker gets them; given back at once. */
const claimedTries = async () => {
  const claimed = await claimWebhooks(database.engine, {
    busy: new Map(),
    slow: [],
    room: 10,
    troubledRoom: 10,
    triesPerEndpoint: 8,
    leaseMs: 60_000,
  })
  await database.engine.query('UPDATE valija.webhook_outbox SET leased_until = NULL')
  return claimed.flatMap(({ events }) =>
    events.map(({ tries, scheduledTries }) => ({ tries, scheduledTries })),
  )
}
const rowsOf = async (webhookId: Uuid) =>
  (
    await database.engine.query<{ eventId: Uuid; isDue: boolean; tries: number }>(
      `SELECT event_id AS "eventId", due_at <= now() AS "isDue", tries FROM valija.webhook_outbox WHERE webhook_id = $1 ORDER BY event_id`,
      [webhookId],
    )
  ).rows
const idsOf = async (webhookId: Uuid) => (await rowsOf(webhookId)).map((row) => row.eventId)
const place = (id: Uuid) => ({ id, tenantId, replayId: nextId() })
/** Ended more than a minute ago, so that nothing late is waited for. */
const past = { afterMs: Date.now() - 10 * hourMs, beforeMs: Date.now() - hourMs, types: null }

/** Steps until there is nothing to do. */
async function workOff(onFull: () => Promise<unknown> = async () => {}): Promise<ReplayProgress[]> {
  const seen: ReplayProgress[] = []
  for (let isActive = true; isActive; ) {
    isActive = false
    for (const id of await listWebhookReplays(database.engine)) {
      const progress = await stepWebhookReplay(database, id)
      seen.push(progress)
      if (progress === 'full') await onFull()
      if (progress === 'more' || progress === 'full') isActive = true
    }
  }
  return seen
}

describe('a range', () => {
  test('is told in steps, to the endpoint that asked, as far as it asks for it', async () => {
    const id = await endpoint(['message.accepted'])
    const other = await endpoint()
    const told = await emit(1_500, 'message.accepted', tenantId, 2 * hourMs)
    await emit(5, 'message.bounced', tenantId, 2 * hourMs)
    await emit(5, 'message.accepted', strangerId, 2 * hourMs)
    await emit(5, 'message.accepted', tenantId, 0)
    await forget()
    expect(await replayRange(database, place(id), past)).toEqual({ events: 1_500, isExact: true })
    // No more than some hundreds at once, while these have not been told.
    const [replay] = await listWebhookReplays(database.engine)
    expect(await stepWebhookReplay(database, replay!)).toBe('more')
    expect(await rowsOf(id)).toHaveLength(1_000)
    expect(await stepWebhookReplay(database, replay!)).toBe('full')
    await forget()
    expect(await stepWebhookReplay(database, replay!)).toBe('more')
    expect(await idsOf(id)).toEqual(told.slice(1_000))
    expect(await listWebhookReplays(database.engine)).toEqual([])
    expect(await rowsOf(other)).toEqual([])
  })

  test('does not double what waits, and makes it due', async () => {
    const id = await endpoint()
    await emit(3, 'message.accepted', tenantId, 2 * hourMs)
    await database.engine.query(`UPDATE valija.webhook_outbox SET tries = 2, due_at = now() + interval '1 h'`)
    await replayRange(database, place(id), past)
    await workOff()
    expect((await rowsOf(id)).map(({ isDue, tries }) => [isDue, tries])).toEqual([
      [true, 2],
      [true, 2],
      [true, 2],
    ])
  })

  test('up to now leaves out nothing that is committed late', async () => {
    const id = await endpoint()
    const late = await database.engine.connect()
    await late.query('BEGIN')
    const event = {
      id: nextId(),
      tenantId,
      type: 'message.failed' as const,
      messageId: null,
      createdAtMs: Date.now(),
      data: {},
    }
    await late.query(`WITH ${eventExpressions(1)} SELECT count(*) FROM outbox`, eventParameters([event]))
    const [seen] = await write(1)
    await database.engine.query('DELETE FROM valija.webhook_outbox WHERE webhook_id = $1', [id])
    await replayRange(database, place(id), {
      afterMs: Date.now() - 60_000,
      beforeMs: Date.now() + 1,
      types: null,
    })
    // Behind an open transaction nothing is read, for it may write in between.
    expect(await workOff()).toEqual(['early'])
    expect(await rowsOf(id)).toEqual([])
    await late.query('COMMIT')
    late.release()
    await shown()
    await forget()
    await workOff()
    expect((await idsOf(id)).sort()).toEqual([event.id, seen].sort())
    expect(await listWebhookReplays(database.engine)).toHaveLength(1)
  })

  test('of a disabled endpoint waits until it is enabled', async () => {
    const id = await endpoint()
    await replayRange(database, place(id), past)
    await updateWebhook(database, tenantId, id, { status: 'disabled' })
    expect(await listWebhookReplays(database.engine)).toEqual([])
    await updateWebhook(database, tenantId, id, { status: 'enabled' })
    expect(await listWebhookReplays(database.engine)).toHaveLength(1)
  })

  test('is worked on by one worker at a time', async () => {
    const id = await endpoint()
    await emit(300, 'message.accepted', tenantId, 2 * hourMs)
    await forget()
    await replayRange(database, place(id), past)
    const [replay] = await listWebhookReplays(database.engine)
    const both = await Promise.all([0, 1, 2].map(() => stepWebhookReplay(database, replay!)))
    expect(both.filter((progress) => progress === 'more')).toHaveLength(1)
    expect(await rowsOf(id)).toHaveLength(300)
  })
})

test('all that waits is due, each row once, also those that fail again meanwhile', async () => {
  const id = await endpoint()
  await emit(2_500)
  await database.engine.query(`UPDATE valija.webhook_outbox SET tries = 1, due_at = now() + interval '1 h'`)
  expect(await replayWaiting(database, place(id))).toEqual({ events: 2_000, isExact: false })
  const [replay] = await listWebhookReplays(database.engine)
  expect(await stepWebhookReplay(database, replay!)).toBe('more')
  expect((await rowsOf(id)).filter((row) => row.isDue)).toHaveLength(1_000)
  await database.engine.query(`UPDATE valija.webhook_outbox SET due_at = now() + interval '1 h'`)
  await workOff()
  expect((await rowsOf(id)).filter((row) => row.isDue)).toHaveLength(1_500)
  expect(await listWebhookReplays(database.engine)).toEqual([])
})

test('a try that was asked for takes no step of the schedule', async () => {
  const id = await endpoint()
  const [event] = await emit(1, 'message.accepted', tenantId, 2 * hourMs)
  await database.engine.query(`UPDATE valija.webhook_outbox SET tries = 5, due_at = now() + interval '1 h'`)
  const wait = () => database.engine.query(`UPDATE valija.webhook_outbox SET due_at = now() + interval '1 h'`)
  // Asked for twice before it is made: one try.
  await replayEvent(database.engine, tenantId, id, event!)
  await replayEvent(database.engine, tenantId, id, event!)
  expect(await claimedTries()).toEqual([{ tries: 5, scheduledTries: 4 }])
  await wait()
  await replayWaiting(database, place(id))
  await workOff()
  expect(await claimedTries()).toEqual([{ tries: 5, scheduledTries: 3 }])
  await wait()
  await replayRange(database, place(id), past)
  await workOff()
  expect(await claimedTries()).toEqual([{ tries: 5, scheduledTries: 2 }])
})

test('one event of another tenant is none', async () => {
  const id = await endpoint()
  const [event] = await emit(1, 'message.accepted', strangerId)
  expect(await replayEvent(database.engine, tenantId, id, event!)).toBe(false)
  expect(await rowsOf(id)).toEqual([])
})

test('an endpoint that is enabled again is told what it was not, and nothing that it was', async () => {
  await emit(1, 'message.accepted', tenantId, 10)
  const id = await endpoint()
  const [undelivered] = await emit(1)
  const [delivered] = await emit(1)
  await database.engine.query('DELETE FROM valija.webhook_outbox WHERE event_id = $1', [delivered])
  await database.engine.query(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, started_at, duration_ms)
     VALUES ($1, $2, $3, $4, 'message.accepted', 1, 'delivered', now(), 12)`,
    [nextId(), tenantId, id, delivered],
  )
  await database.engine.query(`UPDATE valija.webhook_outbox SET due_at = now() + interval '12 h', tries = 7`)
  await updateWebhook(database, tenantId, id, { status: 'disabled' })
  const since = (await findWebhook(database, tenantId, id))?.disabledAt
  await updateWebhook(database, tenantId, id, { status: 'disabled' })
  expect((await findWebhook(database, tenantId, id))?.disabledAt).toEqual(since)
  const missed = await emit(3)
  expect(await idsOf(id)).toEqual([undelivered])
  await continueWebhook(database.engine, strangerId, id, [nextId(), nextId()])
  await continueWebhook(database.engine, tenantId, id, [nextId(), nextId()])
  await updateWebhook(database, tenantId, id, { status: 'enabled' })
  await endContinuation(database.engine, id)
  await workOff()
  // Neither what it was told nor what happened before it was there.
  expect(await idsOf(id)).toEqual([undelivered, ...missed])
  expect((await rowsOf(id)).every((row) => row.isDue)).toBe(true)
})

test('an endpoint that is disabled and enabled again and again has one replay of what it missed, and misses nothing', async () => {
  const id = await endpoint()
  const missed: Uuid[] = []
  for (let times = 0; times < 4; times += 1) {
    await updateWebhook(database, tenantId, id, { status: 'disabled' })
    missed.push(...(await emit(2)))
    await continueWebhook(database.engine, tenantId, id, [nextId(), nextId()])
    await updateWebhook(database, tenantId, id, { status: 'enabled' })
    await endContinuation(database.engine, id)
  }
  const { rows } = await database.engine.query('SELECT kind FROM valija.webhook_replays ORDER BY kind')
  expect(rows).toEqual([{ kind: 'range' }, { kind: 'waiting' }])
  await workOff()
  expect(await idsOf(id)).toEqual(missed)
})

test('what was judged long before an endpoint was disabled, and written after, is told when it is enabled again', async () => {
  const id = await endpoint()
  await database.engine.query(`UPDATE valija.webhooks SET created_at = now() - interval '1 d'`)
  await updateWebhook(database, tenantId, id, { status: 'disabled' })
  const kept = await emit(2, 'message.delivered', tenantId, 300_000)
  await continueWebhook(database.engine, tenantId, id, [nextId(), nextId()])
  await updateWebhook(database, tenantId, id, { status: 'enabled' })
  await workOff()
  expect(await idsOf(id)).toEqual(kept)
})

test('a tenant with thousands of replays does not keep another tenant’s from its turn', async () => {
  const id = await endpoint()
  await database.engine.query(
    `INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind) SELECT valija.new_id(), $1, $2, 'waiting' FROM generate_series(1, 5000)`,
    [tenantId, id],
  )
  const other = nextId()
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://b.test/', '{*}', '')`,
    [other, strangerId],
  )
  const mine = nextId()
  await replayWaiting(database, { id: other, tenantId: strangerId, replayId: mine })
  expect((await listWebhookReplays(database.engine)).slice(0, 2)).toContain(mine)
})
