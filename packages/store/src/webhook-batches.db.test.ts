/** Batches: when they form, that they stay as they are, and that two workers do not tear one apart. */
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { eraseAnswers } from './erase-mail-rows.ts'
import { eventExpressions, eventParameters } from './new-events.ts'
import { claimWebhookBatches } from './webhook-batches.ts'
import {
  type ClaimedWebhook,
  type ClaimOptions,
  claimWebhooks,
  type NewWebhookTry,
  settleWebhookTries,
} from './webhook-outbox.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const hourMs = 3_600_000
const demand = {
  busy: new Map<Uuid, number>(),
  slow: [],
  room: 100,
  troubledRoom: 100,
  triesPerEndpoint: 8,
  leaseMs: 60_000,
  nextId,
}

let testDatabase: TestDatabase
let database: Database
beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(async () => {
  await database.engine.query('DELETE FROM valija.webhooks')
})
afterAll(async () => {
  await database.close()
  await testDatabase.drop()
})

async function endpoint(
  maxEvents: number | null,
  maxWaitMs: number | null = maxEvents && hourMs,
): Promise<Uuid> {
  const id = nextId()
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret, batch_max_events, batch_max_wait_ms)
     VALUES ($1, $2, 'http://a.test/', '{*}', '', $3, $4)`,
    [id, tenantId, maxEvents, maxWaitMs],
  )
  return id
}

async function emit(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => ({
    id: nextId(),
    tenantId,
    type: 'message.accepted' as const,
    messageId: null,
    createdAtMs: Date.now(),
    data: {},
  }))
  await database.engine.query(
    `WITH ${eventExpressions(1)} SELECT count(*) FROM outbox`,
    eventParameters(events),
  )
}

const claim = (changes: Partial<ClaimOptions> = {}) =>
  claimWebhookBatches(database.engine, { ...demand, ...changes })
const idsOf = (batch: ClaimedWebhook | undefined) => batch?.events.map((event) => event.id)

async function settle(batch: ClaimedWebhook, retryAfterMs: number | null, responseStart = ''): Promise<void> {
  const { webhookId, batchId, lease } = batch
  const tries: NewWebhookTry[] = batch.events.map((event) => ({
    id: nextId(),
    webhookId,
    eventId: event.id,
    tenantId,
    eventType: event.type,
    batchId,
    lease,
    number: event.tries + 1,
    retryAfterMs,
    statusCode: retryAfterMs === null ? 200 : 500,
    error: null,
    responseStart,
    startedAt: new Date(),
    durationMs: 5,
  }))
  await settleWebhookTries(database.engine, tries, 5 * 24 * hourMs)
}
/** By a second: the clocks of two processors may differ by a little. */
const letTimePass = () =>
  database.engine.query("UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s'")

test('one forms when there are enough events, and what is left over waits for others', async () => {
  await endpoint(10)
  await emit(9)
  expect(await claim()).toEqual({ claimed: [], nextInMs: expect.any(Number) })
  await emit(14)
  const { claimed } = await claim()
  expect(claimed.map((batch) => batch.events.length)).toEqual([10, 10])
  expect(new Set(claimed.map((batch) => batch.batchId)).size).toBe(2)
  const rest = await claim()
  expect(rest.claimed).toEqual([])
  expect(rest.nextInMs).toBeGreaterThan(hourMs - 60_000)
})

test('one forms when its first event has waited long enough', async () => {
  await endpoint(10, 50)
  await emit(3)
  const early = await claim()
  if (early.claimed.length === 0) await database.engine.query('SELECT pg_sleep(0.06)')
  const [batch] = early.claimed.length > 0 ? early.claimed : (await claim()).claimed
  expect(batch?.events).toHaveLength(3)
})

test('one that failed comes again as it was, under the same id, before anything new', async () => {
  await endpoint(5)
  await emit(5)
  const [first] = (await claim()).claimed
  await settle(first!, 60_000)
  expect((await claim()).claimed).toEqual([])
  await emit(7)
  await letTimePass()
  const [again, fresh, ...others] = (await claim({ room: 8, troubledRoom: 8, busy: new Map() })).claimed
  // It fails: a single try at once.
  expect(fresh).toBeUndefined()
  expect(others).toEqual([])
  expect(again?.batchId).toBe(first?.batchId)
  expect(idsOf(again)).toEqual(idsOf(first))
  expect(again?.events.map((event) => event.tries)).toEqual([1, 1, 1, 1, 1])
  await settle(again!, null)
  const [next] = (await claim()).claimed
  expect(next?.events).toHaveLength(5)
  expect(next?.batchId).not.toBe(first?.batchId)
})

test('one whose worker died comes again as it was', async () => {
  await endpoint(3)
  await emit(3)
  const [first] = (await claim()).claimed
  expect((await claim()).claimed).toEqual([])
  await database.engine.query(
    "UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s', leased_until = now() - interval '1 s'",
  )
  const [again] = (await claim()).claimed
  expect([again?.batchId, idsOf(again)]).toEqual([first?.batchId, idsOf(first)])
})

test('one event of it that is due brings all of it: a replay does not tear it apart', async () => {
  const id = await endpoint(3)
  await emit(3)
  const [first] = (await claim()).claimed
  await settle(first!, hourMs)
  await database.engine.query(
    "UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s' WHERE event_id = $1",
    [idsOf(first)![1]],
  )
  await database.engine.query('UPDATE valija.webhooks SET failing_since = NULL WHERE id = $1', [id])
  expect(idsOf((await claim()).claimed[0])).toEqual(idsOf(first))
})

test('many claimers at once give each event to one of them, in whole batches', async () => {
  await endpoint(10)
  await endpoint(10)
  await emit(100)
  const claims = await Promise.all(Array.from({ length: 4 }, () => claim({ triesPerEndpoint: 3 })))
  const batches = claims.flatMap(({ claimed }) => claimed)
  while (true) {
    const { claimed } = await claim({ triesPerEndpoint: 100 })
    if (claimed.length === 0) break
    batches.push(...claimed)
  }
  expect(batches.every((batch) => batch.events.length === 10)).toBe(true)
  const names = batches.flatMap((batch) => batch.events.map((event) => batch.webhookId + event.id))
  expect(names).toHaveLength(200)
  expect(new Set(names).size).toBe(200)
})

test('no endpoint gets more than its places, nor all of a kind more than there is room', async () => {
  const [idle, busy] = [await endpoint(2), await endpoint(2)]
  await emit(40)
  const { claimed } = await claim({ busy: new Map([[busy, 5]]) })
  const count = (id: Uuid) => claimed.filter((batch) => batch.webhookId === id).length
  expect([count(idle), count(busy)]).toEqual([8, 3])
  expect((await claim({ room: 2 })).claimed).toHaveLength(2)
})

test('endpoints without batches are left to the other claim, and the other way round', async () => {
  const [single, batching] = [await endpoint(null), await endpoint(2)]
  await emit(2)
  expect((await claimWebhooks(database.engine, demand)).map((webhook) => webhook.webhookId)).toEqual([
    single,
    single,
  ])
  expect((await claim()).claimed.map((batch) => batch.webhookId)).toEqual([batching])
})

test('when batches are turned off, what was in one is told event by event', async () => {
  const id = await endpoint(2)
  await emit(2)
  await settle((await claim()).claimed[0]!, 1)
  await database.engine.query(
    'UPDATE valija.webhooks SET batch_max_events = NULL, batch_max_wait_ms = NULL, failing_since = NULL WHERE id = $1',
    [id],
  )
  await letTimePass()
  const claimed = await claimWebhooks(database.engine, demand)
  expect(claimed.map((webhook) => [webhook.batchId, webhook.events.length])).toEqual([
    [null, 1],
    [null, 1],
  ])
})

describe('what was answered to a batch that names somebody who is erased', () => {
  const eraseEvent = (eventId: Uuid) =>
    database.engine.query(
      `UPDATE valija.events SET data = '{"email": "erased-0@erased.invalid"}' WHERE id = $1`,
      [eventId],
    )
  const answersTo = async ({ webhookId }: ClaimedWebhook) =>
    (
      await database.engine.query<{ text: string | null }>(
        'SELECT response_start AS text FROM valija.webhook_tries WHERE webhook_id = $1 ORDER BY id',
        [webhookId],
      )
    ).rows.map(({ text }) => text)
  const twoBatches = async () => {
    await endpoint(3)
    await emit(6)
    const { claimed } = await claim()
    return [claimed[0]!, claimed[1]!] as const
  }

  test('goes with all its events, and that to other batches stays', async () => {
    const [first, second] = await twoBatches()
    for (const batch of [first, second]) await settle(batch, null, 'got ann@example.org')
    const client = await database.engine.connect()
    await eraseAnswers(client, tenantId, [first.events[1]!.id])
    client.release()
    expect(await answersTo(first)).toEqual([...Array(3).fill(null), ...Array(3).fill('got ann@example.org')])
  })

  test('is not kept either when it comes late', async () => {
    const [first, second] = await twoBatches()
    await database.engine.query(
      `INSERT INTO valija.erasures (id, tenant_id, email_key, placeholder, bound_id) VALUES ($1, $2, 'ann@example.org', 'erased-0@erased.invalid', $1)`,
      [nextId(), tenantId],
    )
    await eraseEvent(first.events[1]!.id)
    for (const batch of [first, second]) await settle(batch, null, 'got ann@example.org')
    expect(await answersTo(first)).toEqual([...Array(3).fill(null), ...Array(3).fill('got ann@example.org')])
  })
})
