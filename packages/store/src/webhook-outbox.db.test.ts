import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { type Database, openDatabase } from './database.ts'
import { eventExpressions, eventParameters } from './new-events.ts'
import {
  type ClaimedWebhook,
  type ClaimOptions,
  claimWebhooks,
  disableWebhooks,
  type NewWebhookTry,
  nextWebhookDueInMs,
  settleWebhookTries,
} from './webhook-outbox.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const fiveDaysMs = 5 * 86_400_000

const demand: ClaimOptions = {
  busy: new Map(),
  slow: [],
  room: 100,
  troubledRoom: 100,
  triesPerEndpoint: 8,
  leaseMs: 60_000,
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

async function endpoint(columns: { status?: string; failingSince?: Date } = {}): Promise<Uuid> {
  const id = nextId()
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret, status, failing_since)
     VALUES ($1, $2, 'http://a.test/', '{*}', '\\x00', $3, $4)`,
    [id, tenantId, columns.status ?? 'enabled', columns.failingSince ?? null],
  )
  return id
}

/** One event each, for all enabled endpoints. */
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
  claimWebhooks(database.engine, { ...demand, ...changes })

async function claimOne(changes: Partial<ClaimOptions> = {}): Promise<ClaimedWebhook> {
  const [webhook] = await claim(changes)
  if (!webhook) throw new Error('nothing to claim')
  return webhook
}

/** What came of a try; told when `retryAfterMs` is null. */
const triedOf = (webhook: ClaimedWebhook, retryAfterMs: number | null): NewWebhookTry => ({
  id: nextId(),
  webhookId: webhook.webhookId,
  eventId: webhook.events[0]!.id,
  tenantId,
  eventType: webhook.events[0]!.type,
  batchId: webhook.batchId,
  lease: webhook.lease,
  number: webhook.events[0]!.tries + 1,
  retryAfterMs,
  statusCode: retryAfterMs === null ? 200 : 500,
  error: null,
  responseStart: '',
  startedAt: new Date(),
  durationMs: 5,
})

const settle = (...tries: NewWebhookTry[]) => settleWebhookTries(database.engine, tries, fiveDaysMs)

const one = async (sql: string, ...values: unknown[]) => (await database.engine.query(sql, values)).rows[0]

const countByEndpoint = (claimed: ClaimedWebhook[]) => {
  const counts = new Map<Uuid, number>()
  for (const { webhookId } of claimed) counts.set(webhookId, (counts.get(webhookId) ?? 0) + 1)
  return counts
}

describe('claiming', () => {
  test('gives each endpoint its places, less those it has under way, and a failing one a single place', async () => {
    const [idle, busy, full, failing] = [
      await endpoint(),
      await endpoint(),
      await endpoint(),
      await endpoint({ failingSince: new Date() }),
    ]
    await emit(20)
    const claimed = await claim({
      busy: new Map([
        [busy, 5],
        [full, 8],
      ]),
    })
    expect(countByEndpoint(claimed)).toEqual(
      new Map([
        [idle, 8],
        [busy, 3],
        [failing, 1],
      ]),
    )
    expect(
      claimed
        .filter((webhook) => webhook.isFailing || webhook.isTroubled)
        .map((webhook) => webhook.webhookId),
    ).toEqual([failing])
  })

  test('failing and slow endpoints never take the places of the others', async () => {
    const well = await endpoint()
    const slow = await endpoint()
    for (let index = 0; index < 5; index++) await endpoint({ failingSince: new Date() })
    await emit(4)
    const claimed = await claim({ room: 3, troubledRoom: 2, slow: [slow] })
    expect(claimed.filter((webhook) => webhook.webhookId === well)).toHaveLength(3)
    expect(claimed.filter((webhook) => webhook.isTroubled)).toHaveLength(2)
    expect(claimed).toHaveLength(5)
  })

  test('when places are scarce every endpoint has its chance', async () => {
    for (let index = 0; index < 4; index++) await endpoint()
    await emit(1)
    const firsts = new Set<Uuid>()
    for (let round = 0; round < 100 && firsts.size < 4; round++) {
      const webhook = await claimOne({ room: 1 })
      firsts.add(webhook.webhookId)
      await settle(triedOf(webhook, 0))
      await database.engine.query('UPDATE valija.webhooks SET failing_since = NULL')
    }
    expect(firsts.size).toBe(4)
  })

  test('two at once share the rows, none gets what the other has', async () => {
    for (let index = 0; index < 10; index++) await endpoint()
    await emit(5)
    const claims = (await Promise.all([claim(), claim(), claim(), claim()])).flat()
    const names = claims.map((webhook) => webhook.webhookId + webhook.events[0]!.id)
    expect(new Set(names).size).toBe(names.length)
    expect(claims.length + (await claim()).length).toBe(50)
  })

  test('leaves disabled endpoints and what is not due', async () => {
    const off = await endpoint()
    const later = await endpoint()
    await emit(1)
    await database.engine.query("UPDATE valija.webhooks SET status = 'disabled' WHERE id = $1", [off])
    await database.engine.query(
      // In whole milliseconds, as the column keeps it: it may be rounded up.
      "UPDATE valija.webhook_outbox SET due_at = date_trunc('milliseconds', now()) + interval '1 minute' WHERE webhook_id = $1",
      [later],
    )
    expect(await claim()).toEqual([])
    const inMs = await nextWebhookDueInMs(database.engine)
    expect(inMs).toBeGreaterThan(55_000)
    expect(inMs).toBeLessThanOrEqual(60_000)
    await database.engine.query(
      "UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s' WHERE webhook_id = $1",
      [later],
    )
    expect(await claim()).toHaveLength(1)
  })

  test('a lease that ended is due again, and its end is known beforehand', async () => {
    await endpoint()
    await emit(1)
    await claimOne({ leaseMs: 60_000 })
    expect(await claim()).toEqual([])
    expect(await nextWebhookDueInMs(database.engine)).toBeGreaterThan(55_000)
    await database.engine.query("UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s'")
    expect(await nextWebhookDueInMs(database.engine)).toBeNull()
    expect(await claim()).toHaveLength(1)
  })
})

describe('settling', () => {
  test('a success removes the row, a failure makes it due later and counts', async () => {
    const webhookId = await endpoint()
    await emit(2)
    const [first, second] = await claim()
    await settle(triedOf(first!, null), triedOf(second!, 5_000))
    const { rows } = await database.engine.query(
      'SELECT event_id, tries, leased_until, due_at > now() AS is_later FROM valija.webhook_outbox',
    )
    expect(rows).toEqual([{ event_id: second!.events[0]!.id, tries: 1, leased_until: null, is_later: true }])
    const tries = await database.engine.query(
      'SELECT outcome, next_try_at IS NULL AS is_last FROM valija.webhook_tries WHERE webhook_id = $1 ORDER BY id',
      [webhookId],
    )
    expect(tries.rows).toEqual([
      { outcome: 'delivered', is_last: true },
      { outcome: 'failed', is_last: false },
    ])
  })

  test('after a lost lease a failure changes nothing, and a success is a fact', async () => {
    await endpoint()
    await emit(1)
    const lost = await claimOne()
    await database.engine.query("UPDATE valija.webhook_outbox SET due_at = now() - interval '1 s'")
    // A lease is known by its end, to the millisecond, and two claims can be made in one.
    const held = await claimOne({ leaseMs: 2 * demand.leaseMs })
    expect(held.lease).not.toBe(lost.lease)
    await settle(triedOf(lost, 5_000))
    expect(await one('SELECT tries, leased_until::text AS lease FROM valija.webhook_outbox')).toEqual({
      tries: 0,
      lease: held.lease,
    })
    await settle(triedOf(lost, null))
    expect(await one('SELECT FROM valija.webhook_outbox')).toBeUndefined()
  })

  test('repeated after a lost answer it changes nothing more', async () => {
    const webhookId = await endpoint()
    await emit(2)
    const [first, second] = await claim()
    const tries = [triedOf(first!, null), triedOf(second!, 5_000)]
    await settle(...tries)
    await settle(...tries)
    expect(await one('SELECT count(*) FROM valija.webhook_tries WHERE webhook_id = $1', webhookId)).toEqual({
      count: 2,
    })
    expect(await one('SELECT tries FROM valija.webhook_outbox')).toEqual({ tries: 1 })
  })

  test('failing_since is the first failure after the last success', async () => {
    const webhookId = await endpoint()
    await emit(6)
    const claimed = await claim()
    const failingSince = async (): Promise<Date | null> =>
      (await one('SELECT failing_since FROM valija.webhooks WHERE id = $1', webhookId)).failing_since
    await settle(triedOf(claimed[0]!, 1_000))
    const first = await failingSince()
    expect(first).not.toBeNull()
    await settle(triedOf(claimed[1]!, 1_000))
    expect(await failingSince()).toEqual(first)
    await database.engine.query("UPDATE valija.webhooks SET failing_since = now() - interval '1 day'")
    await settle(triedOf(claimed[2]!, null), triedOf(claimed[3]!, 1_000))
    expect((await failingSince())!.getTime()).toBeGreaterThanOrEqual(first!.getTime())
    await settle(triedOf(claimed[4]!, 1_000), triedOf(claimed[5]!, null))
    expect(await failingSince()).toBeNull()
  })

  test('names the endpoints that have had no success for too long, unless this is one', async () => {
    const old = new Date(Date.now() - fiveDaysMs - 1_000)
    const [dead, saved] = [await endpoint({ failingSince: old }), await endpoint({ failingSince: old })]
    await endpoint({ failingSince: new Date(Date.now() - fiveDaysMs + 60_000) })
    await emit(1)
    const claimed = await claim()
    expect(
      await settle(...claimed.map((webhook) => triedOf(webhook, webhook.webhookId === saved ? null : 1_000))),
    ).toEqual([dead])
  })
})

describe('disabling', () => {
  test('happens once, keeps the rows, and tells the other endpoints and not its own', async () => {
    const [dead, other] = [await endpoint({ failingSince: new Date() }), await endpoint()]
    await emit(1)
    const disable = () =>
      disableWebhooks(database, new Map([[dead, 'gone']]), (webhook) => ({
        id: nextId(),
        tenantId: webhook.tenantId,
        type: 'webhook.disabled',
        messageId: null,
        createdAtMs: Date.now(),
        data: { url: webhook.url },
      }))
    expect(await disable()).toMatchObject([{ id: dead, tenantId, url: 'http://a.test/', reason: 'gone' }])
    expect(await disable()).toEqual([])
    const { rows } = await database.engine.query(
      'SELECT webhook_id, count(*) FROM valija.webhook_outbox GROUP BY webhook_id ORDER BY webhook_id',
    )
    expect(rows).toEqual([
      { webhook_id: dead, count: 1 },
      { webhook_id: other, count: 2 },
    ])
  })
})

describe('what an endpoint answers while its tenant has somebody erased', () => {
  const erasure = async () => {
    const erase = `INSERT INTO valija.erasures (id, tenant_id, email_key, placeholder, bound_id) VALUES ($1, $2, 'ann@example.org', 'erased-0@erased.invalid', $1)`
    await database.engine.query(erase, [nextId(), tenantId])
  }
  const erased = (eventId: Uuid) =>
    database.engine.query(
      `UPDATE valija.events SET data = '{"email": "erased-0@erased.invalid"}' WHERE id = $1`,
      [eventId],
    )
  const answers = async () =>
    (await database.engine.query('SELECT response_start AS text FROM valija.webhook_tries')).rows
  const told = (webhook: ClaimedWebhook) => ({ ...triedOf(webhook, null), responseStart: 'ann@example.org' })

  beforeEach(async () => {
    await database.engine.query('DELETE FROM valija.webhook_tries')
    await database.engine.query('DELETE FROM valija.erasures')
  })

  test('is not kept where the event was erased meanwhile, and is where it was not', async () => {
    await endpoint()
    await emit(2)
    const [first, second] = await claim()
    await erasure()
    await erased(first!.events[0]!.id)
    expect(await settle(told(first!), told(second!))).toEqual([])
    expect((await answers()).map(({ text }) => text).sort()).toEqual(['ann@example.org', null])
  })

  test('is not kept either when the erasure was done before the answer came', async () => {
    await endpoint()
    await emit(1)
    const webhook = await claimOne()
    await erasure()
    await erased(webhook.events[0]!.id)
    await database.engine.query(
      "UPDATE valija.erasures SET status = 'done', email_key = NULL, completed_at = now()",
    )
    await settle(told(webhook))
    expect(await answers()).toEqual([{ text: null }])
  })

  test('waits for an erasure that has the event this moment', async () => {
    await endpoint()
    await emit(1)
    const webhook = await claimOne()
    await erasure()
    const eraser = await database.engine.connect()
    await eraser.query('BEGIN')
    await eraser.query(
      `UPDATE valija.events SET data = '{"email": "erased-0@erased.invalid"}' WHERE id = $1`,
      [webhook.events[0]!.id],
    )
    const settled = settle(told(webhook))
    await until('the try on record', async () => (await answers()).length === 1)
    await eraser.query('COMMIT')
    eraser.release()
    await settled
    expect(await answers()).toEqual([{ text: null }])
  })
})
