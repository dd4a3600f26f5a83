import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import {
  createIdSource,
  createSealer,
  createWebhookSecret,
  type EventType,
  formatId,
  joinWebhookSecrets,
  type Uuid,
  type WebhookPolicy,
  webhookPolicy,
  webhookSecretOwner,
} from '@valija/core'
import {
  type Database,
  eventExpressions,
  eventParameters,
  openDatabase,
  openWake,
  type Wake,
} from '@valija/store'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../../../tests/support/webhook-receiver.ts'
import { createOutgoingHttp, type OutgoingHttp } from '../../courier/src/outgoing-http.ts'
import {
  createWebhookDispatcher,
  type WebhookDispatcher,
  type WebhookLimits,
  type WebhookLog,
  webhookLimits,
} from './dispatch-webhooks.ts'
import type { WebhookHttp } from './webhook-try.ts'

const clock = { nowMs: () => Date.now() }
const nextId = createIdSource(clock.nowMs)
const sealer = createSealer(['a key for tests'])
const tenantId = nextId()

/** The contract's schedule would take days. */
const quick = (retryWaitsMs: number[]): WebhookPolicy => ({ ...webhookPolicy, retryWaitsMs })

/** Half of what the sweep and the usual time-out take: what came within it needed neither. */
const soonMs = 7_500
/** By these nobody's try ends, nor is an endpoint slow, while a test goes on. */
const patient = { tryTimeoutMs: 60_000, slowMs: 60_000, leaseMs: 120_000 }

let testDatabase: TestDatabase
let database: Database
let wake: Wake
let http: OutgoingHttp
const receivers: WebhookReceiver[] = []
const dispatchers: WebhookDispatcher[] = []
const trouble: unknown[] = []
const disabled: unknown[] = []

const log: WebhookLog = {
  webhookTried: () => {},
  webhookDisabled: (entry) => disabled.push(entry),
  webhookTrouble: (error) => trouble.push(error),
}

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  wake = await openWake(testDatabase.url, () => {})
  http = createOutgoingHttp({ allowNetworks: ['127.0.0.0/8'] })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})

afterEach(async () => {
  await Promise.all(dispatchers.splice(0).map((dispatcher) => dispatcher.drain()))
  await Promise.all(receivers.splice(0).map((receiver) => receiver.stop()))
  await database.engine.query('DELETE FROM valija.webhooks')
  expect(trouble.splice(0)).toEqual([])
  disabled.length = 0
})

afterAll(async () => {
  await http.close()
  await wake.close()
  await database.close()
  await testDatabase.drop()
})

function dispatcher(limits: Partial<WebhookLimits> = {}, port: WebhookHttp = http): WebhookDispatcher {
  const made = createWebhookDispatcher({ database, clock, nextId, sealer, http: port, wake, log, limits })
  dispatchers.push(made)
  made.start()
  return made
}

async function receiver(): Promise<WebhookReceiver> {
  const made = await startWebhookReceiver(createWebhookSecret())
  receivers.push(made)
  return made
}

/** An endpoint for the receiver's URL and secret, or for others. */
async function endpoint(of: { url: string; secret: string }, events = ['*']): Promise<Uuid> {
  const id = nextId()
  const secret = sealer.seal(joinWebhookSecrets(of.secret.split(' ')), webhookSecretOwner(tenantId, id))
  await database.engine.query(
    'INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, $3, $4, $5)',
    [id, tenantId, of.url, events, secret],
  )
  return id
}

/** Writes events as the flows do, and wakes dispatchers. */
async function emit(count: number, type: EventType = 'message.accepted'): Promise<Uuid[]> {
  const events = Array.from({ length: count }, (_, index) => ({
    id: nextId(),
    tenantId,
    type,
    messageId: null,
    createdAtMs: clock.nowMs(),
    data: { email: `r${index}@b.test`, domain: 'acme.test', tags: ['grüße 👋'], seq: 1 },
  }))
  await database.engine.query(
    `WITH ${eventExpressions(1)} SELECT count(*) FROM outbox`,
    eventParameters(events),
  )
  wake.send('webhooks')
  return events.map((event) => event.id)
}

const rowsOf = async (table: 'webhook_outbox' | 'webhook_tries' | 'webhooks', webhookId: Uuid) => {
  const [key, order] =
    table === 'webhooks' ? ['id', 'id'] : ['webhook_id', table === 'webhook_tries' ? 'id' : 'event_id']
  const { rows } = await database.engine.query(
    `SELECT * FROM valija.${table} WHERE ${key} = $1 ORDER BY ${order}`,
    [webhookId],
  )
  return rows
}

const outboxIsEmpty = (webhookId: Uuid) =>
  until('an empty outbox', async () => (await rowsOf('webhook_outbox', webhookId)).length === 0)

describe('a webhook that is taken', () => {
  test("is the event as GET /events shows it, and the specification's library verifies it", async () => {
    const peer = await receiver()
    const webhookId = await endpoint(peer)
    dispatcher()
    const [eventId] = await emit(1)
    const [call] = await peer.received(1)
    const { rows } = await database.engine.query('SELECT created_at, data FROM valija.events WHERE id = $1', [
      eventId,
    ])
    expect(new Webhook(peer.secret).verify(call!.text, call!.headers as Record<string, string>)).toEqual({
      id: formatId('event', eventId!),
      type: 'message.accepted',
      timestamp: rows[0].created_at.toISOString(),
      data: rows[0].data,
    })
    expect(call!.isVerified).toBe(true)
    expect(call!.id).toBe(formatId('event', eventId!))
    expect(call!.headers['content-type']).toBe('application/json')
    expect(call!.headers['user-agent']).toMatch(/^Valija/)
    await outboxIsEmpty(webhookId)
    expect(await rowsOf('webhook_tries', webhookId)).toMatchObject([
      {
        number: 1,
        outcome: 'delivered',
        status_code: 200,
        event_type: 'message.accepted',
        next_try_at: null,
      },
    ])
  })

  test('carries both signatures while the secret is being rotated', async () => {
    const peer = await receiver()
    const old = createWebhookSecret()
    const over = createWebhookSecret()
    const id = await endpoint({ url: peer.url, secret: `${peer.secret} ${old} ${over}` })
    await database.engine.query(
      `UPDATE valija.webhooks SET former_secrets_end = ARRAY[now() + interval '1 h', now() - interval '1 ms'] WHERE id = $1`,
      [id],
    )
    dispatcher()
    await emit(1)
    const [call] = await peer.received(1)
    const headers = call!.headers as Record<string, string>
    for (const secret of [peer.secret, old])
      expect(() => new Webhook(secret).verify(call!.text, headers)).not.toThrow()
    expect(() => new Webhook(over).verify(call!.text, headers)).toThrow()
    // Newest first, for receivers that look at one alone.
    const [first] = headers['webhook-signature']!.split(' ')
    expect(
      new Webhook(peer.secret).sign(
        call!.id,
        new Date(Number(headers['webhook-timestamp']) * 1000),
        call!.text,
      ),
    ).toBe(first)
  })

  test('10 endpoints, 100 events: each is told each event once', async () => {
    const peers = await Promise.all(Array.from({ length: 10 }, receiver))
    const ids = await Promise.all(peers.map((peer) => endpoint(peer)))
    dispatcher()
    const events = (await emit(100)).map((id) => formatId('event', id)).sort()
    for (const [index, peer] of peers.entries()) {
      await peer.received(100)
      await outboxIsEmpty(ids[index]!)
      expect(peer.calls.map((call) => call.id).sort()).toEqual(events)
      expect(peer.calls.every((call) => call.isVerified)).toBe(true)
    }
  })

  test('two dispatchers share the work and tell nothing twice', async () => {
    const peers = await Promise.all(Array.from({ length: 4 }, receiver))
    const ids = await Promise.all(peers.map((peer) => endpoint(peer)))
    const told = [0, 0]
    for (const index of [0, 1]) {
      dispatcher({}, { post: (...request) => http.post(...request).finally(() => (told[index]! += 1)) })
    }
    for (let round = 0; round < 10; round++) await emit(30)
    for (const [index, peer] of peers.entries()) {
      await peer.received(300)
      await outboxIsEmpty(ids[index]!)
      expect(new Set(peer.calls.map((call) => call.id)).size).toBe(300)
      expect(peer.calls).toHaveLength(300)
    }
    expect(Math.min(...told)).toBeGreaterThan(0)
  })
})

describe('a webhook that is not taken', () => {
  test('is tried again on the schedule, with the same id and every try on record', async () => {
    const peer = await receiver()
    peer.answers = [
      { status: 500, body: 'no\0t now' },
      { status: 302, headers: { location: '/other' } },
      { status: 'drop' },
    ]
    const webhookId = await endpoint(peer)
    dispatcher({ policy: quick([100, 300, 500]) })
    const [eventId] = await emit(1)
    const calls = await peer.received(4)
    await outboxIsEmpty(webhookId)
    expect(new Set(calls.map((call) => call.id))).toEqual(new Set([formatId('event', eventId!)]))
    expect(calls.every((call) => call.path === '/')).toBe(true)
    const waits = calls.slice(1).map((call, index) => call.atMs - calls[index]!.atMs)
    for (const [index, wait] of [100, 300, 500].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(wait)
      expect(waits[index]).toBeLessThan(wait + soonMs)
    }
    const tries = await rowsOf('webhook_tries', webhookId)
    expect(tries.map((entry) => [entry.number, entry.outcome, entry.status_code])).toEqual([
      [1, 'failed', 500],
      [2, 'failed', 302],
      [3, 'failed', null],
      [4, 'delivered', 200],
    ])
    expect(tries[0].response_start).toBe('no\ufffdt now')
    expect(tries[0].next_try_at.getTime()).toBeGreaterThanOrEqual(tries[0].started_at.getTime() + 100)
    expect(tries[1].error).toMatch(/redirect/)
    expect(tries[2].error).toMatch(/^connection_failed/)
    expect(await rowsOf('webhooks', webhookId)).toMatchObject([{ failing_since: null }])
  })

  test('waits for Retry-After when that is longer than the schedule', async () => {
    const peer = await receiver()
    peer.answers = [{ status: 503, headers: { 'retry-after': '2' } }]
    await endpoint(peer)
    dispatcher({ policy: quick([10]) })
    await emit(1)
    const [first, second] = await peer.received(2)
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(2_000)
  })

  test('for want of a socket of ours is no try: its row is due again in 2 s, and its endpoint is as it was; the operator is told once', async () => {
    const peer = await receiver()
    const webhookId = await endpoint(peer)
    let wants = 0
    const askedAtMs: number[] = []
    dispatcher(
      {},
      {
        post: (url, asked) => {
          askedAtMs.push(performance.now())
          wants += 1
          if (wants > 2) return http.post(url, asked)
          return Promise.resolve({ kind: 'failure', code: 'no_socket', message: 'EMFILE', durationMs: 0 })
        },
      },
    )
    await emit(1)
    await until('it is given back', async () => {
      const [row] = await rowsOf('webhook_outbox', webhookId)
      return askedAtMs.length > 0 && row.leased_until === null
    })
    // What comes meanwhile is not claimed: this process could not ask.
    await emit(1)
    await peer.received(2)
    await outboxIsEmpty(webhookId)
    expect(askedAtMs[1]! - askedAtMs[0]!).toBeGreaterThanOrEqual(1_900)
    expect(await rowsOf('webhook_tries', webhookId)).toMatchObject([
      { number: 1, outcome: 'delivered' },
      { number: 1, outcome: 'delivered' },
    ])
    expect(await rowsOf('webhooks', webhookId)).toMatchObject([{ failing_since: null, status: 'enabled' }])
    expect(trouble.splice(0)).toEqual([new Error('EMFILE')])
  })

  test('a receiver that never answers is left at the deadline', async () => {
    const peer = await receiver()
    peer.answers = [{ status: 'silence' }]
    const webhookId = await endpoint(peer)
    dispatcher({ policy: quick([10]), tryTimeoutMs: 300 })
    await emit(1)
    const [first, second] = await peer.received(2)
    expect(second!.atMs - first!.atMs).toBeLessThan(soonMs)
    expect((await rowsOf('webhook_tries', webhookId))[0].error).toMatch(/^timeout/)
  })

  test('a receiver that drips its answer is left at the deadline', async () => {
    const server = net.createServer((socket) => {
      const drip = setInterval(() => socket.write('a'), 20)
      socket.on('error', () => {}).once('close', () => clearInterval(drip))
      socket.write('HTTP/1.1 200 OK\r\nx-drip: ')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const webhookId = await endpoint({ url, secret: createWebhookSecret() })
    dispatcher({ tryTimeoutMs: 300 })
    await emit(1)
    const [entry] = await until('a try', async () => {
      const tries = await rowsOf('webhook_tries', webhookId)
      return tries.length > 0 && tries
    })
    expect(entry).toMatchObject({ outcome: 'failed', error: expect.stringMatching(/^timeout/) })
    expect(entry.duration_ms).toBeLessThan(soonMs)
    server.close()
  })

  test('a secret that no key opens is a failed try, not a lost event', async () => {
    const peer = await receiver()
    const webhookId = await endpoint(peer)
    const strange = createSealer(['another key']).seal(
      Buffer.from(peer.secret),
      webhookSecretOwner(tenantId, webhookId),
    )
    await database.engine.query('UPDATE valija.webhooks SET secret = $2 WHERE id = $1', [webhookId, strange])
    dispatcher()
    await emit(1)
    const [entry] = await until('a try', async () => {
      const tries = await rowsOf('webhook_tries', webhookId)
      return tries.length > 0 && tries
    })
    expect(entry).toMatchObject({
      outcome: 'failed',
      status_code: null,
      error: expect.stringMatching(/^secret_unreadable/),
    })
    expect(await rowsOf('webhook_outbox', webhookId)).toMatchObject([{ tries: 1, leased_until: null }])
  })
})

describe('an endpoint that is in trouble', () => {
  test('one that hangs delays none of 199 others', async () => {
    const [well, hanging] = [await receiver(), await receiver()]
    hanging.answers = () => ({ status: 'silence' })
    const hangingId = await endpoint(hanging)
    for (let index = 0; index < 199; index++) await endpoint(well)
    dispatcher(patient)
    for (let round = 0; round < 20; round++) await emit(1)
    await well.received(199 * 20)
    expect(await rowsOf('webhook_tries', hangingId)).toEqual([])
    expect(hanging.calls.length).toBeLessThanOrEqual(8)
    await hanging.stop()
    receivers.splice(receivers.indexOf(hanging), 1)
  })

  test('one that hangs delays no other on the same host', async () => {
    const host = await receiver()
    host.answers = (call) => (call.path === '/hangs' ? { status: 'silence' } : {})
    const hangingId = await endpoint({ url: `${host.url}hangs`, secret: host.secret })
    await endpoint({ url: `${host.url}well`, secret: host.secret })
    dispatcher(patient)
    await emit(40)
    await until('40 events', () => host.calls.filter((call) => call.path === '/well').length === 40)
    expect(await rowsOf('webhook_tries', hangingId)).toEqual([])
    await host.stop()
    receivers.splice(receivers.indexOf(host), 1)
  })

  test('a hundred that hang delay a healthy one no more than one does', async () => {
    const [well, hanging] = [await receiver(), await receiver()]
    hanging.answers = () => ({ status: 'silence' })
    const dead: Uuid[] = []
    for (let index = 0; index < 100; index++) dead.push(await endpoint(hanging))
    await endpoint(well)
    await database.engine.query('UPDATE valija.webhooks SET failing_since = now() WHERE id = ANY ($1)', [
      dead,
    ])
    dispatcher({ places: 6, troubledPlaces: 2, ...patient })
    await emit(50)
    await well.received(50)
    for (const id of dead) expect(await rowsOf('webhook_tries', id)).toEqual([])
    expect(hanging.calls.length).toBeLessThanOrEqual(2)
    await hanging.stop()
    receivers.splice(receivers.indexOf(hanging), 1)
  })

  test('gets 8 tries at once, and a single one once it has failed', async () => {
    const peer = await receiver()
    let now = 0
    let most = 0
    const port: WebhookHttp = {
      post: async (...request) => {
        now += 1
        most = Math.max(most, now)
        const answer = await http.post(...request)
        now -= 1
        return answer
      },
    }
    peer.answers = () => ({ delayMs: 30 })
    const webhookId = await endpoint(peer)
    dispatcher({ policy: quick([60_000]) }, port)
    await emit(40)
    await peer.received(40)
    await outboxIsEmpty(webhookId)
    expect(most).toBe(8)
    peer.answers = () => ({ status: 500 })
    await emit(1)
    await peer.received(41)
    await until('failing', async () => (await rowsOf('webhooks', webhookId))[0].failing_since)
    peer.answers = () => ({ status: 500, delayMs: 30 })
    most = 0
    await emit(5)
    await peer.received(46)
    expect(most).toBe(1)
  })

  test("410 disables it, the tenant's others hear of it, and what is undelivered waits until it is enabled", async () => {
    const [leaving, watching] = [await receiver(), await receiver()]
    leaving.answers = [{ status: 410 }]
    const webhookId = await endpoint(leaving, ['*'])
    await endpoint(watching, ['webhook.disabled'])
    dispatcher({ policy: quick([50]) })
    const [eventId] = await emit(1)
    const [call] = await watching.received(1)
    expect(call!.json).toMatchObject({
      type: 'webhook.disabled',
      data: { webhook_id: formatId('webhook', webhookId), url: leaving.url, reason: 'gone' },
    })
    expect(await rowsOf('webhooks', webhookId)).toMatchObject([
      { status: 'disabled', disabled_reason: 'gone' },
    ])
    expect(disabled).toEqual([{ webhookId, tenantId, reason: 'gone' }])
    // Another event passes by: it is neither told nor written down for it, and its own end is not either.
    await emit(1, 'webhook.disabled')
    await watching.received(2)
    expect((await rowsOf('webhook_outbox', webhookId)).map((row) => row.event_id)).toEqual([eventId])
    expect(leaving.calls).toHaveLength(1)
    await database.engine.query(
      "UPDATE valija.webhooks SET status = 'enabled', disabled_reason = NULL WHERE id = $1",
      [webhookId],
    )
    wake.send('webhooks')
    await leaving.received(2)
    await outboxIsEmpty(webhookId)
  })

  test('five days without a success disable it; a success in time clears its record', async () => {
    const [dead, tired] = [await receiver(), await receiver()]
    dead.answers = () => ({ status: 500 })
    const deadId = await endpoint(dead)
    const tiredId = await endpoint(tired)
    const since = (days: number, id: Uuid) =>
      database.engine.query(
        `UPDATE valija.webhooks SET failing_since = now() - interval '${days} days' WHERE id = $1`,
        [id],
      )
    await since(4.99, deadId)
    await since(6, tiredId)
    dispatcher({ policy: quick([50]) })
    await emit(1)
    await dead.received(2)
    expect(await rowsOf('webhooks', deadId)).toMatchObject([{ status: 'enabled' }])
    await outboxIsEmpty(tiredId)
    expect(await rowsOf('webhooks', tiredId)).toMatchObject([{ status: 'enabled', failing_since: null }])
    await since(5, deadId)
    await until('disabled', async () => (await rowsOf('webhooks', deadId))[0].status === 'disabled')
    expect(await rowsOf('webhooks', deadId)).toMatchObject([{ disabled_reason: 'failing' }])
    expect(await rowsOf('webhook_outbox', deadId)).toHaveLength(1)
    const last = (await tired.received(2)).at(-1)
    expect(last!.json).toMatchObject({
      type: 'webhook.disabled',
      data: { reason: 'failing', webhook_id: formatId('webhook', deadId) },
    })
  })
})

describe('a dispatcher that is gone', () => {
  test('leaves leases, and at their end another tells the events', async () => {
    const peer = await receiver()
    const webhookId = await endpoint(peer)
    const claimed = Promise.withResolvers<void>()
    const dead = createWebhookDispatcher({
      database,
      clock,
      nextId,
      sealer,
      // Dies with the request under way: never ends, and with one place for it never claims again.
      http: {
        post: () => {
          claimed.resolve()
          return new Promise(() => {})
        },
      },
      wake: { on: () => () => {}, send: () => {} },
      log,
      limits: { triesPerEndpoint: 1, leaseMs: 1_500, tryTimeoutMs: 1_000, sweepMs: 3_600_000 },
    })
    await emit(1)
    dead.start()
    await claimed.promise
    const leasedAt = performance.now()
    dispatcher()
    const [call] = await peer.received(1)
    expect(call!.atMs - leasedAt).toBeGreaterThan(1_000)
    expect(call!.atMs - leasedAt).toBeLessThan(soonMs)
    await outboxIsEmpty(webhookId)
  })

  test('who has written an event and died before the wake-up has it told within the sweep, which is 15 s', async () => {
    const sweepMs = 400
    const peer = await receiver()
    await endpoint(peer)
    const deaf = createWebhookDispatcher({
      database,
      clock,
      nextId,
      sealer,
      http,
      wake: { on: () => () => {}, send: () => {} },
      log,
      limits: { sweepMs },
    })
    dispatchers.push(deaf)
    deaf.start()
    // It has looked and found nothing.
    await emit(1)
    await peer.received(1)
    const writtenAt = performance.now()
    await emit(1)
    const [, call] = await peer.received(2)
    expect(call!.atMs - writtenAt).toBeLessThan(20 * sweepMs)
    expect(webhookLimits.sweepMs).toBe(15_000)
  })

  test('drain lets what is under way end and be settled, and claims no more', async () => {
    const peer = await receiver()
    peer.answers = () => ({ delayMs: 200 })
    const webhookId = await endpoint(peer)
    const leaving = dispatcher()
    await emit(20)
    await peer.received(8)
    await leaving.drain()
    const told = peer.calls.length
    expect(await rowsOf('webhook_outbox', webhookId)).toHaveLength(20 - told)
    expect(told).toBeLessThan(20)
    expect((await rowsOf('webhook_outbox', webhookId)).every((row) => row.leased_until === null)).toBe(true)
    dispatcher()
    await peer.received(20)
    await outboxIsEmpty(webhookId)
    expect(new Set(peer.calls.map((call) => call.id)).size).toBe(20)
  })

  test('an event that retention has dropped leaves nothing behind', async () => {
    const peer = await receiver()
    const webhookId = await endpoint(peer)
    await database.engine.query(
      'INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at) VALUES ($1, $2, $3, $4)',
      [webhookId, randomUUID(), tenantId, new Date(clock.nowMs() - 1_000)],
    )
    dispatcher()
    await outboxIsEmpty(webhookId)
    expect(peer.calls).toHaveLength(0)
  })
})
