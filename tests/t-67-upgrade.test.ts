/**
 * An upgrade without downtime, on both queues: the previous version's processes and this one's together on one database.
 *
 *   1. the previous version runs on its own schema: mail flows, mail waits (far ahead, and deferred), a webhook is told, a reader follows /events
 *   2. this version's `migrate` runs, while all of that goes on
 *   3. an API and a worker of this version join: each version's worker delivers what each version's API has accepted
 *   4. the old ones are stopped one after another, the worker that leads the dispatching among them
 *   5. what had waited is let go, and everything comes to its end
 *
 * A migration that the previous version cannot live with (a column that it writes is gone, a default is missing, a job that it cannot
 * read) turns this red.
 */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countEach, type EventView, inParallel, post, readEvents } from './support/message-life.ts'
import { type PreviousVersion, unpackPreviousVersion } from './support/previous-version.ts'
import { startApp } from './support/processes.ts'
import { untilShown } from './support/shown-events.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import {
  type Call,
  expectStatus,
  type QueueKind,
  queueBackends,
  startValija,
  type Valija,
} from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

/** faults-and-threats P7 and S3: nobody waits longer for a lock of ours. */
const LOCK_LIMIT_S = 2
/** Of each version's worker, from each version's API. */
const EACH_WAY = 5

type Sent = { id: string; to: string; key: string; by: 'old' | 'new'; status: number; text: string }

type Upgrade = {
  peer: SmtpPeer
  receiver: WebhookReceiver
  valija: Valija
  newApi: Call
  /** Every request of the traffic, and when which was made. */
  sent: Sent[]
  waiting: { later: string[]; deferred: string[] }
  migrated: string
  worstLockWaitS: number
  /** How many requests were answered while `migrate` ran. */
  answeredMeanwhile: number
  /** Events of a reader that began at the old API and ended at the new one. */
  stream: EventView[]
  exits: (number | null)[]
}

const backends = queueBackends().filter(({ isAbsent }) => !isAbsent)
const upgrades = new Map<string, Upgrade>()
const closers: (() => Promise<unknown>)[] = []
let previous: PreviousVersion

/**
 * As clients are told to: a 503 is repeated with the same key. It should not come to that, but the previous version answers so to the request whose
 * transaction PostgreSQL ends for a deadlock with migrate, which a machine that crawls can bring about.
 */
async function send(call: Call, mail: Record<string, unknown>, key: string) {
  for (let tries = 1; ; tries += 1) {
    const answer = await call('POST', '/send', mail, { 'idempotency-key': key }).catch((error: Error) => ({
      ...{ status: 0, text: String(error.cause ?? error), json: {} as Record<string, unknown> },
    }))
    if (answer.status !== 503 || tries >= 5) return answer
    await delay(200)
  }
}

/** Clients that post one mail after the other, each to the API whose turn it is, until they are told to end. */
function startTraffic(valija: Valija, apis: Map<'old' | 'new', Call>) {
  const sent: Sent[] = []
  let isOver = false
  let number = 0
  const underWay = new Map<Promise<unknown>, 'old' | 'new'>()
  const lane = async () => {
    while (!isOver) {
      const mine = number++
      const [by, call] = [...apis][mine % apis.size]!
      const [to, key] = [`${by}-${mine}@example.org`, `key-${mine}`]
      const request = send(call, valija.mail({ to, tags: ['traffic'] }), key)
      underWay.set(request, by)
      const { status, json, text } = await request.finally(() => underWay.delete(request))
      sent.push({ id: String(json?.id), to, key, by, status, text })
      await delay(60) // a pace, not a wait: the machine is to do other things besides
    }
  }
  const lanes = Promise.all([lane(), lane()])
  const end = async () => {
    isOver = true
    await lanes
  }
  closers.push(end)
  return {
    sent,
    end,
    /** As a proxy does before it stops one: no new requests, and those under way are answered. */
    takeOut: async (version: 'old' | 'new') => {
      apis.delete(version)
      await Promise.all([...underWay].flatMap(([request, by]) => (by === version ? [request] : [])))
    },
  }
}

/** Looks all the time at who waits for a lock, until it is stopped; gives the longest that anybody but `migrate` has waited. */
function watchLocks(databaseUrl: string) {
  let isOver = false
  const watch = async () => {
    const client = new pg.Client(databaseUrl)
    await client.connect()
    let worst = 0
    while (!isOver) {
      const { rows } = await client.query<{ waited: number }>(
        `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0)::float8 AS waited
         FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
         WHERE a.datname = current_database() AND NOT l.granted AND l.locktype = 'relation'
           AND a.application_name <> 'valija migrate'`,
      )
      worst = Math.max(worst, rows[0]!.waited)
      await delay(20)
    }
    await client.end()
    return worst
  }
  const watching = watch()
  return () => {
    isOver = true
    return watching
  }
}

/** Reads the tenant's stream page by page, at whichever API is named at the time. */
function followStream() {
  const seen: EventView[] = []
  let cursor = ''
  return {
    seen,
    /** Until there is no more for now. */
    read: async (call: Call) => {
      for (;;) {
        const query = cursor && `&cursor=${encodeURIComponent(cursor)}`
        const answer = await call<{ data: EventView[]; next_cursor: string }>(
          'GET',
          `/events?limit=100${query}`,
        )
        const page = expectStatus(answer, 200).json
        seen.push(...page.data)
        cursor = page.next_cursor
        if (page.data.length === 0) return
      }
    },
  }
}

/** Mail that is in the tables, and in nobody's hands, when the schema changes. */
async function leaveWaiting(valija: Valija) {
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString()
  const send = (name: string) => (index: number) =>
    post(
      valija.api,
      valija.mail({ to: `${name}-${index}@example.org`, ...(name === 'later' && { send_at: inAnHour }) }),
    )
  const later = await inParallel(10, 2, send('later'))
  const deferred = await inParallel(10, 2, send('deferred'))
  await until(
    'ten deferred mails',
    async () => {
      const rows = await valija.sql(
        `SELECT FROM valija.recipients WHERE status = 'deferred' AND email ~ '^deferred-'`,
      )
      return rows.length === 10
    },
    PATIENCE_MS,
  )
  return { later, deferred }
}

async function migrateUnderTraffic(valija: Valija, sent: Sent[]) {
  const before = sent.length
  const stopWatching = watchLocks(valija.databaseUrl)
  const migration = startApp('migrate', { DATABASE_URL: valija.databaseUrl })
  const { code } = await migration.ended
  const answeredMeanwhile = sent.length - before
  // Who waits behind the last lock has it now.
  const worstLockWaitS = await stopWatching()
  if (code !== 0) throw new Error(`migrate ended with ${code}: ${migration.lines.join('\n')}`)
  return { migrated: migration.lines.join('\n'), answeredMeanwhile, worstLockWaitS }
}

/** Whether each version's worker has delivered what each version's API has accepted. */
function isEachWay(peer: SmtpPeer, since: number): boolean {
  const ways = countEach(peer.mails.slice(since).map(({ helo, to }) => `${to[0]!.slice(0, 3)} ${helo}`))
  return ['old old.test', 'old new.test', 'new old.test', 'new new.test'].every(
    (way) => (ways.get(way) ?? 0) >= EACH_WAY,
  )
}

/**
 * The previous version took it for trouble when its own start took longer than the second for which it waited for Redis
 * (packages/store/src/queue/queue.conformance.db.test.ts, 'a start that takes longer'); this one does not.
 */
const oldComplaint = /Stream isn't writeable and enableOfflineQueue options is false/

/** What did not go well by word of the processes and their answers: the first to look at when a migration broke the previous version. */
function troublesOf(valija: Valija, sent: Sent[]): string[] {
  const old = [valija.apis[0], valija.workers[0]]
  const lines = [...valija.apis, ...valija.workers].flatMap((process) =>
    process.lines.filter((line) => !(old.includes(process) && oldComplaint.test(line))),
  )
  const answers = sent.flatMap(({ status, text, by }) =>
    status === 202 ? [] : [`${by} API: ${status} ${text}`],
  )
  // See `send`: what met a deadlock is done again by whoever does it.
  // And a Redis that is not heard for 3 s, which a machine that crawls can bring about as well, is connected to anew.
  const troubles = lines.filter(
    (line) =>
      /"level":"(?:error|fatal)"/.test(line) &&
      !/deadlock detected|Socket timeout\. Expecting data/.test(line),
  )
  return [...troubles.slice(0, 5), ...answers.slice(0, 5)]
}

async function liveThrough(queue: QueueKind): Promise<Upgrade> {
  let isHoldingBack = true
  const peer = await startSmtpPeer({
    script: {
      rcpt: ({ argument }) => (isHoldingBack && /deferred-/.test(argument) ? '451 4.7.1 later' : undefined),
    },
  })
  closers.push(() => peer.stop())
  const receiver = await startWebhookReceiver()
  closers.push(() => receiver.stop())
  const valija = await startValija({
    queue,
    delivery: 'smarthost',
    smarthost: peer,
    version: previous,
    env: { VALIJA_EHLO_NAME: 'old.test', VALIJA_ALLOW_NETWORKS: '127.0.0.0/8', VALIJA_RETRY_SCHEDULE: '2s' },
  })
  closers.push(() => valija.stop())
  const [oldWorker, oldApi] = [valija.workers[0]!, valija.apis[0]!]
  const made = await valija.api<{ secret: string }>('POST', '/webhooks', { url: receiver.url, events: ['*'] })
  receiver.secret = expectStatus(made, 201).json.secret
  const waiting = await leaveWaiting(valija)

  const apis = new Map<'old' | 'new', Call>([['old', valija.api]])
  const traffic = startTraffic(valija, apis)
  const { sent, takeOut } = traffic
  const stream = followStream()
  await until('the first mails', () => peer.mails.length >= 20, PATIENCE_MS)
  await stream.read(valija.api)
  const migration = await migrateUnderTraffic(valija, sent)

  const since = peer.mails.length
  const [{ call: newApi }] = await Promise.all([
    valija.addApi(),
    valija.addWorker({ VALIJA_EHLO_NAME: 'new.test' }),
  ])
  apis.set('new', newApi)
  await until('mail by each version for each version', () => isEachWay(peer, since), PATIENCE_MS).catch(
    (error: Error) => {
      throw new Error([error.message, ...troublesOf(valija, sent)].join('\n'))
    },
  )
  await stream.read(newApi)
  await stream.read(valija.api)
  const exits = [await oldWorker.stop(PATIENCE_MS)]
  await takeOut('old')
  exits.push(await oldApi.stop(PATIENCE_MS))

  isHoldingBack = false
  await valija.sql(`UPDATE valija.deliveries SET due_at = now() WHERE state = 'waiting'`)
  await traffic.end()
  await until(
    'the end of everything',
    async () =>
      (await valija.sql('SELECT FROM valija.deliveries UNION ALL SELECT FROM valija.webhook_outbox'))
        .length === 0,
    PATIENCE_MS,
  )
  await untilShown(valija.sql)
  await stream.read(newApi)
  return {
    ...{ peer, receiver, valija, newApi, sent, waiting, ...migration, stream: stream.seen },
    exits: exits.map(({ code }) => code),
  }
}

beforeAll(async () => {
  previous = await unpackPreviousVersion()
  closers.push(() => previous.remove())
  const lived = await Promise.all(
    backends.map(async ({ queue }) => [queue, await liveThrough(queue)] as const),
  )
  for (const [queue, upgrade] of lived) upgrades.set(queue, upgrade)
}, 360_000)

afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

/** An alarm is about the tenant, and may come at any time: also when the stream has been read to its end. */
const isOfMail = ({ type }: { type?: unknown }) => type !== 'tenant.alarm'

describe.each(backends)('with the queue in $queue', ({ queue }) => {
  const upgrade = () => upgrades.get(queue)!

  test('migrate brings the schema of the previous version to this one, while requests are answered', () => {
    const { migrated, answeredMeanwhile } = upgrade()
    expect(migrated).toMatch(/^migrated: /)
    for (const known of previous.migrations) expect(migrated).not.toContain(known)
    expect(answeredMeanwhile).toBeGreaterThan(0)
  })

  test(`nobody waits longer than ${LOCK_LIMIT_S} s for a lock of migrate`, () => {
    expect(upgrade().worstLockWaitS).toBeLessThan(LOCK_LIMIT_S)
  })

  test('no request fails, and those stopped end in peace', () => {
    const { sent, exits } = upgrade()
    expect(sent.filter(({ status }) => status !== 202)).toEqual([])
    expect(exits).toEqual([0, 0])
  })

  test('everything accepted is delivered once, whichever version accepted and whichever delivered it', async () => {
    const { peer, valija, sent, waiting } = upgrade()
    const times = countEach(peer.mails.map(({ to }) => to[0]!))
    const expected = [
      ...sent.map(({ to }) => to),
      ...waiting.later.map((_, index) => `later-${index}@example.org`),
      ...waiting.deferred.map((_, index) => `deferred-${index}@example.org`),
    ]
    expect(expected.filter((to) => times.get(to) !== 1)).toEqual([])
    expect(peer.mails).toHaveLength(expected.length)
    const ends = await valija.sql(`SELECT DISTINCT status FROM valija.recipients`)
    expect(ends).toEqual([{ status: 'delivered' }])
  })

  test('each recipient has its events in order, and a reader that changed from the old API to the new one has seen each once', async () => {
    const { valija, stream, sent, newApi, waiting } = upgrade()
    const [all] = await valija.sql<{ count: number }>(
      `SELECT count(*)::int AS count FROM valija.events WHERE type NOT IN ('message.attempted', 'tenant.alarm')`,
    )
    expect(new Set(stream.map(({ id }) => id)).size).toBe(stream.length)
    const ofMails = stream.filter(isOfMail)
    expect(ofMails).toHaveLength(all!.count)
    const ofRecipient = Map.groupBy(ofMails, ({ data }) => data.recipient_id)
    for (const events of ofRecipient.values()) {
      const numbers = events.map(({ data }) => data.seq)
      expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
      expect(events.at(-1)!.type).toBe('message.delivered')
    }
    expect(ofRecipient.size).toBe(sent.length + 20)
    const deferred = await readEvents(newApi, waiting.deferred[0]!)
    expect(deferred.map(({ type }) => type).slice(0, 2)).toEqual(['message.accepted', 'message.deferred'])
  })

  test('a webhook made by the old version is told everything by both, under its one secret', () => {
    const { receiver, stream } = upgrade()
    expect(receiver.calls.filter(({ isVerified }) => !isVerified)).toEqual([])
    const told = new Set(receiver.calls.filter(({ json }) => isOfMail(json)).map(({ id }) => id))
    const expected = stream.filter(isOfMail).map(({ id }) => id)
    expect([...told].toSorted()).toEqual(expected.toSorted())
  })

  test('what the old API has answered, the new one answers again to the same Idempotency-Key', async () => {
    const { sent, newApi, valija } = upgrade()
    const mine = sent.find(({ by }) => by === 'old')!
    const again = await newApi('POST', '/send', valija.mail({ to: mine.to, tags: ['traffic'] }), {
      'idempotency-key': mine.key,
    })
    expect(again).toMatchObject({ status: 202, text: mine.text })
    expect(again.headers.get('idempotency-replayed')).toBe('true')
  })

  test('no process of either version tells of trouble', () => {
    const { valija, sent } = upgrade()
    expect(troublesOf(valija, sent)).toEqual([])
  })
})
