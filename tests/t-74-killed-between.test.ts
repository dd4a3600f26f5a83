/**
 * Rows of the crash table (docs/ARCHITECTURE.md, "What a crash leaves") that are over in a moment: a process is killed at exactly that
 * await (support/die-at.ts), what it leaves is looked at, and then whoever is to mend it does.
 *
 *   workers   one after another gets one thing to do and dies of it; the rows' time is put on, and a worker that lives mends it all
 *   others    an API dies before its COMMIT, another after it and before it wakes anybody; then the worker that leads dies
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DeathAt, dieAt } from './support/die-at.ts'
import type { Answer } from './support/http.ts'
import {
  allEnded,
  type EventView,
  eventTypes,
  type MessageView,
  post,
  readAttempts,
  readMessage,
  untilEnded,
} from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { type Api, expectStatus, startValija, type Valija } from './support/valija.ts'
import {
  type ReceivedWebhook,
  startWebhookReceiver,
  type WebhookReceiver,
} from './support/webhook-receiver.ts'

const flows = 'packages/flows/src'
const deaths = {
  beforeCommit: {
    process: 'api',
    file: 'packages/store/src/accept-messages.ts',
    awaits: "client.query({ text: 'COMMIT'",
    when: 'before',
  },
  afterCommit: { process: 'api', file: `${flows}/send-message.ts`, awaits: 'acceptMessages(', when: 'after' },
  beforeLease: {
    process: 'worker',
    file: `${flows}/deliver-recipients.ts`,
    awaits: 'askPatiently(() => {',
    when: 'before',
  },
  afterSettle: {
    process: 'worker',
    file: `${flows}/settle-desk.ts`,
    awaits: 'settleAttempts(',
    when: 'after',
  },
  beforePost: { process: 'worker', file: `${flows}/webhook-try.ts`, awaits: 'post(', when: 'before' },
  afterPost: { process: 'worker', file: `${flows}/webhook-try.ts`, awaits: 'post(', when: 'after' },
  afterInbox: {
    process: 'worker',
    file: `${flows}/keep-captured-mail.ts`,
    awaits: 'insertInboxMail(',
    when: 'after',
  },
} as const satisfies Record<string, DeathAt>

/** A worker that has just started believes no lease's end for 12 s; the rest is for a slow machine. */
const MENDED_MS = 60_000
/** The timers of dispatcher and webhooks. */
const TIMER_MS = 15_000

const closers: (() => Promise<unknown>)[] = []
let folder: string

type World = { valija: Valija; peer: SmtpPeer; receiver: WebhookReceiver }

async function begin(workers: number): Promise<World> {
  const peer = await startSmtpPeer()
  const receiver = await startWebhookReceiver()
  closers.push(() => Promise.all([peer.stop(), receiver.stop()]))
  const valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    workers,
    env: { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' },
  })
  closers.push(() => valija.stop())
  const endpoint = { url: receiver.url, events: ['*'] }
  receiver.secret = expectStatus(
    await valija.api<{ secret: string }>('POST', '/webhooks', endpoint),
    201,
  ).json.secret
  return { valija, peer, receiver }
}

const at = (name: string) => `${name}@example.org`
const tomorrow = () => new Date(Date.now() + 86_400_000).toISOString()
const soon = () => new Date(Date.now() + 1_000).toISOString()
const told = ({ receiver }: World, name: string, type: string): ReceivedWebhook[] =>
  receiver.calls.filter(({ json }) => {
    const event = json as unknown as EventView
    return event.type === `message.${type}` && event.data.email === at(name)
  })

/** Workers that die, and what was seen right after each death. */
type Deaths = {
  ends: (NodeJS.Signals | null)[]
  unleased: { state: string }[]
  settled: { message: MessageView; told: number }
  unposted: { leases: number; longestS: number; calls: number }
  posted: { told: number; leases: number }
  captured: number
}

let world: World
let seen: Deaths
let ids: Record<'unleased' | 'settled' | 'posted' | 'captured', string>

/** Starts a worker that is to die, and waits until it has. It may do so before it says that it is ready. */
async function diedOf(death: DeathAt, work: () => Promise<string>): Promise<[string, Running | null]> {
  const { valija } = world
  const worker = await valija.addWorker(dieAt(folder, death)).catch(() => null)
  const id = await work()
  await worker?.ended
  return [id, worker]
}

async function countInbox(name: string): Promise<number> {
  const { data } = expectStatus(
    await world.valija.api<{ data: unknown[] }>('GET', `/inbox?to=${at(name)}`),
    200,
  ).json
  return data.length
}

async function outboxLeases(): Promise<{ leases: number; longestS: number }> {
  const [row] = await world.valija.sql<{ leases: number; longestS: number }>(
    `SELECT count(*)::int AS leases, coalesce(extract(epoch FROM max(leased_until) - now()), 0)::float8 AS "longestS"
     FROM valija.webhook_outbox WHERE leased_until > now()`,
  )
  return row!
}

/** Time passes: hints, and leases of mails and of webhooks, are as old as they get. */
async function runOut({ sql }: Valija): Promise<void> {
  await sql(`UPDATE valija.deliveries SET leased_until = now() - interval '3 s' WHERE state = 'leased'`)
  await sql(`UPDATE valija.deliveries SET admitted_at = now() - interval '31 s' WHERE state = 'admitted'`)
  await sql(
    'UPDATE valija.webhook_outbox SET leased_until = now(), due_at = now() WHERE leased_until > now()',
  )
}

async function killWorkers(): Promise<void> {
  world = await begin(0)
  const { valija } = world
  const send = (name: string, fields: Record<string, unknown> = {}) =>
    post(valija.api, valija.mail({ to: at(name), ...fields }))
  const [settled, first] = await diedOf(deaths.afterSettle, () => send('settled'))
  const message = await readMessage(valija.api, settled)
  const afterSettle = { message, told: told(world, 'settled', 'delivered').length }

  // It finds what the last one could not tell, and takes that to the grave.
  const before = world.receiver.calls.length
  const [, second] = await diedOf(deaths.beforePost, async () => '')
  const unposted = { ...(await outboxLeases()), calls: world.receiver.calls.length - before }

  const [posted, third] = await diedOf(deaths.afterPost, () => send('posted', { send_at: tomorrow() }))
  const afterPost = { told: told(world, 'posted', 'accepted').length, ...(await outboxLeases()) }

  const [captured, fourth] = await diedOf(deaths.afterInbox, () => send('captured', { route: 'capture' }))
  const [unleased, fifth] = await diedOf(deaths.beforeLease, () => send('unleased'))
  const ends = await Promise.all(
    [first, second, third, fourth, fifth].map(async (worker) => (await worker?.ended)?.signal ?? null),
  )
  seen = {
    ends,
    unleased: await valija.sql('SELECT state FROM valija.deliveries WHERE message_id = $1', [
      unleased.replace('msg_', ''),
    ]),
    settled: afterSettle,
    unposted,
    posted: afterPost,
    captured: await countInbox('captured'),
  }
  ids = { unleased, settled, posted, captured }
  await runOut(valija)
  await valija.addWorker()
  await allEnded(valija.api, [unleased, captured], MENDED_MS)
  const outboxIsEmpty = async () =>
    (await valija.sql('SELECT FROM valija.webhook_outbox WHERE due_at <= now() OR leased_until > now()'))
      .length === 0
  await until('everything told', outboxIsEmpty, MENDED_MS)
}

type Post = { id: string; status: string }
type Repeated = { first: Answer<Post> | null; stored: number; again: Answer<Post> }

let other: World
let uncommitted: Repeated
let unwoken: Repeated & { waiting: { state: string }[]; foundMs: number; toldMs: number }
let led: { leaderHelo: string; message: MessageView; helo: string; tookMs: number }

/** Posts to an API that dies of it, looks what is stored, and repeats that at one that lives. */
async function repeatAfterDeath(api: Api, key: string, mail: Record<string, unknown>) {
  const headers = { 'idempotency-key': key }
  const first = await api.call<Post>('POST', '/send', mail, headers).catch(() => null)
  await api.process.ended
  const [row] = await other.valija.sql<{ stored: number }>(
    'SELECT count(*)::int AS stored FROM valija.recipients WHERE email = $1',
    [mail.to],
  )
  const again = async () => expectStatus(await other.valija.api<Post>('POST', '/send', mail, headers), 202)
  return { first, stored: row!.stored, again }
}

/**
 * Wakes the dispatcher, and waits until it has seen that nothing waits and sleeps again: a round that is not over yet would see the
 * mail, and know when it is due.
 */
async function untilLooked({ sql }: Valija): Promise<void> {
  await until('a round of the dispatcher', async () => {
    const [woken] = await sql<{ at: string }>(
      `SELECT clock_timestamp()::text AS at, pg_notify('valija_wake', 'dispatch:')`,
    )
    // What a round asks last; and no other round has followed. It is woken again where the connection has been asked something else since.
    const hasLooked = async () =>
      (
        await sql(
          `SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND query LIKE 'SELECT (extract(epoch FROM CASE WHEN EXISTS%'
             AND state = 'idle' AND query_start > $1 AND state_change < clock_timestamp() - interval '100 ms'`,
          [woken!.at],
        )
      ).length > 0
    return until('its last question', hasLooked, 2_000)
  })
}

async function loseWakeUp(): Promise<void> {
  const { valija } = other
  const api = await valija.addApi(dieAt(folder, deaths.afterCommit))
  // The dispatcher's timer begins anew, so that it is not by chance that it looks.
  await untilLooked(valija)
  const mail = valija.mail({ to: at('unwoken'), send_at: soon() })
  const startedMs = performance.now()
  const { again, ...death } = await repeatAfterDeath(api, 'unwoken', mail)
  const waiting = await valija.sql<{ state: string }>('SELECT state FROM valija.deliveries')
  unwoken = { ...death, again: await again(), waiting, foundMs: 0, toldMs: 0 }
  await untilEnded(valija.api, unwoken.again.json.id, TIMER_MS + MENDED_MS)
  unwoken.foundMs = performance.now() - startedMs
  await until('its acceptance told', () => told(other, 'unwoken', 'accepted').length > 0)
  unwoken.toldMs = told(other, 'unwoken', 'accepted')[0]!.atMs - startedMs
}

/** The first worker leads; the second stands by. */
async function killLeader(): Promise<void> {
  const { valija, peer } = other
  const helo = (name: string) => peer.mails.find(({ to }) => to[0] === at(name))?.helo ?? ''
  await valija.workers[0]!.kill()
  const startedMs = performance.now()
  // Not due at once, so it is the dispatcher that has to see to it.
  const id = await post(valija.api, valija.mail({ to: at('led'), send_at: soon() }))
  const message = await untilEnded(valija.api, id, MENDED_MS)
  led = {
    message,
    leaderHelo: helo('unwoken'),
    helo: helo('led'),
    tookMs: performance.now() - startedMs,
  }
}

async function killOthers(): Promise<void> {
  other = await begin(0)
  const { valija } = other
  await valija.addWorker({ VALIJA_EHLO_NAME: 'leader.test' })
  const api = await valija.addApi(dieAt(folder, deaths.beforeCommit))
  const { again, ...death } = await repeatAfterDeath(
    api,
    'uncommitted',
    valija.mail({ to: at('uncommitted') }),
  )
  uncommitted = { ...death, again: await again() }
  await untilEnded(valija.api, uncommitted.again.json.id, MENDED_MS)
  await loseWakeUp()
  await valija.addWorker({ VALIJA_EHLO_NAME: 'standby.test' })
  await killLeader()
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'valija-deaths-'))
  await Promise.all([killWorkers(), killOthers()])
}, 180_000)

afterAll(async () => {
  for (const close of closers.reverse()) await close()
  await rm(folder, { recursive: true, force: true })
})

const arrivals = ({ peer }: World, name: string) => peer.mails.filter(({ to }) => to[0] === at(name))

describe('an API', () => {
  test('that is killed before its COMMIT has stored nothing, and the client that repeats its request sends one mail', () => {
    expect(uncommitted.first).toBeNull()
    expect(uncommitted.stored).toBe(0)
    expect(uncommitted.again.headers.get('idempotency-replayed')).toBeNull()
    expect(arrivals(other, 'uncommitted')).toHaveLength(1)
  })

  test('that is killed between its COMMIT and the 202 has stored the mail, and whoever repeats the request gets the stored answer', () => {
    expect(unwoken.first).toBeNull()
    expect(unwoken.stored).toBe(1)
    expect(unwoken.again.headers.get('idempotency-replayed')).toBe('true')
    expect(arrivals(other, 'unwoken')).toHaveLength(1)
  })

  test('that is killed before it wakes the dispatcher leaves rows that wait, and the dispatcher’s timer finds them within 15 s', () => {
    expect(unwoken.waiting).toEqual([{ state: 'waiting' }])
    expect(unwoken.foundMs).toBeLessThan(TIMER_MS + 5_000)
    // And no sooner than its timer: otherwise somebody woke it, and this proves nothing.
    expect(unwoken.foundMs).toBeGreaterThan(TIMER_MS - 5_000)
  })

  test('that is killed before it wakes the webhooks leaves an event to tell, and their timer finds it within 15 s', () => {
    expect(unwoken.toldMs).toBeLessThan(TIMER_MS + 5_000)
    expect(told(other, 'unwoken', 'accepted')).toHaveLength(1)
  })
})

test('a leader of the dispatcher that is killed is followed by a standby within seconds, and mail goes on', () => {
  expect(led.leaderHelo).toBe('leader.test')
  expect([led.message.status, led.helo]).toEqual(['delivered', 'standby.test'])
  expect(led.tookMs).toBeLessThan(8_000)
  expect(arrivals(other, 'led')).toHaveLength(1)
})

describe('a worker', () => {
  test('is killed at each of these moments, and not elsewhere', () => {
    // Null: before it had said that it is ready.
    for (const end of seen.ends) expect([null, 'SIGKILL']).toContain(end)
  })

  test('that is killed between a hint and its lease leaves an admitted row, which the sweep hints again: the mail arrives once', () => {
    expect(seen.unleased).toEqual([{ state: 'admitted' }])
    expect(arrivals(world, 'unleased')).toHaveLength(1)
  })

  test('that is killed after settle’s COMMIT leaves an end on record and webhooks untold: the mail is not sent again, and they are told', async () => {
    expect(seen.settled).toMatchObject({ message: { status: 'delivered' }, told: 0 })
    expect(arrivals(world, 'settled')).toHaveLength(1)
    expect(await readAttempts(world.valija.api, ids.settled)).toHaveLength(1)
    expect(await eventTypes(world.valija.api, ids.settled)).toEqual(['accepted', 'delivered'])
    expect(told(world, 'settled', 'delivered')).toHaveLength(1)
  })

  test('that is killed between the claim of a webhook and its post leaves a lease of at most 60 s, and another tells it, once', async () => {
    expect(seen.unposted.leases).toBeGreaterThan(0)
    expect(seen.unposted.longestS).toBeLessThanOrEqual(60)
    expect(seen.unposted.calls).toBe(0)
    expect(told(world, 'settled', 'delivered')).toHaveLength(1)
  })

  test('that is killed between a webhook’s post and its settle tells it again, with the same webhook-id', () => {
    expect(seen.posted.told).toBe(1)
    expect(seen.posted.leases).toBeGreaterThan(0)
    const calls = told(world, 'posted', 'accepted')
    expect(calls).toHaveLength(2)
    expect(new Set(calls.map(({ id }) => id)).size).toBe(1)
    expect(world.receiver.calls.every(({ isVerified }) => isVerified)).toBe(true)
  })

  test('that is killed between a mail’s row in the inbox and its 250 delivers it again: two entries, one end', async () => {
    expect(seen.captured).toBe(1)
    expect(await countInbox('captured')).toBe(2)
    expect(await eventTypes(world.valija.api, ids.captured)).toEqual(['accepted', 'delivered'])
  })
})
