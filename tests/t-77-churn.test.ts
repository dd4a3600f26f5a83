/**
 * The two tables whose rows come and go with every mail, `deliveries` and `webhook_outbox`, under traffic: what has gone makes room for what
 * comes, in the tables and in their indexes, so that claiming costs the same after the last mail as after the first. And what a mail of
 * 10 KB leaves behind for good.
 *
 * Every fourth recipient is put off once, every tenth webhook refused once. The short form lets autovacuum come each second; the long one
 * (`npm run soak -- churn`) every ten, as docs/operations.md advises (`NAPTIME=1min`: as PostgreSQL comes).
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { inParallel, post } from './support/message-life.ts'
import { type OwnCluster, startOwnCluster } from './support/own-cluster.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const TABLES = ['deliveries', 'webhook_outbox'] as const
type Table = (typeof TABLES)[number]

const DELIVERIES_AT_LEAST = scaled(200_000, 2_000)
/**
 * And for so long at least, in ms. Autovacuum comes each second at best, goes by statistics that sessions write once a second, and looks at one
 * table at a time: on a fast machine 2,000 are gone in 4 s, between two of its visits.
 */
const TRAFFIC_AT_LEAST_MS = 10_000
const PER_MESSAGE = 50
const NAPTIME = process.env.NAPTIME ?? (isLong ? '10s' : '1s')
/** So many wait or are in hand at a time. */
const BACKLOG = isLong ? 2_000 : 400
/**
 * The share of all versions of rows that ever died which may be there at the same time. Autovacuum comes at 1,000 and a fiftieth of
 * the live ones: 15 to 33 % were measured. Without any the share is the whole.
 */
const DEAD_AT_MOST = 0.6

let cluster: OwnCluster
let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija

beforeAll(async () => {
  cluster = await startOwnCluster({ autovacuum_naptime: NAPTIME })
  const putOff = new Set<string>()
  peer = await startSmtpPeer({
    script: {
      rcpt: ({ argument }) => {
        if (!argument.includes('later-') || putOff.has(argument)) return undefined
        putOff.add(argument)
        return '451 4.7.1 later'
      },
    },
  })
  receiver = await startWebhookReceiver()
  valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    databaseUrl: cluster.url,
    env: { VALIJA_RETRY_SCHEDULE: '1s', VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' },
  })
}, timeFor(180_000))
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
  await cluster?.stop()
})

type Sample = {
  live: number
  dead: number
  tableBytes: number
  indexBytes: number
  updates: number
  hotUpdates: number
  deletes: number
  vacuums: number
}

const look = async (table: Table): Promise<Sample> =>
  (
    await valija.sql<Sample>(
      `SELECT n_live_tup::int AS live, n_dead_tup::int AS dead, pg_table_size(relid)::int AS "tableBytes", pg_indexes_size(relid)::int AS "indexBytes",
         n_tup_upd::int AS updates, n_tup_hot_upd::int AS "hotUpdates", n_tup_del::int AS deletes, autovacuum_count::int AS vacuums
       FROM pg_stat_user_tables WHERE schemaname = 'valija' AND relname = $1`,
      [table],
    )
  )[0]!

const rowsOf = async (table: Table) =>
  (await valija.sql<{ count: number }>(`SELECT count(*)::int AS count FROM valija.${table}`))[0]!.count

/** Posts as fast as it is delivered, and says how many deliveries that were. */
async function produce(): Promise<number> {
  const startedMs = performance.now()
  const mayGoOn = async () => (await rowsOf('deliveries')) < BACKLOG
  let messages = 0
  const isEnough = () =>
    messages * PER_MESSAGE >= DELIVERIES_AT_LEAST && performance.now() - startedMs >= TRAFFIC_AT_LEAST_MS
  await inParallel(2, 2, async () => {
    while (!isEnough()) {
      const number = messages++
      await until('room for more', mayGoOn, timeFor(PATIENCE_MS))
      const to = Array.from(
        { length: PER_MESSAGE },
        (_, index) => `${index % 4 === 0 ? 'later-' : 'now-'}${number}-${index}@example.org`,
      )
      await post(valija.api, valija.mail({ to }))
      // Only their numbers count here.
      for (const kept of [peer.mails, peer.transcript, receiver.calls]) kept.length = 0
    }
  })
  return messages * PER_MESSAGE
}

/** Sessions of our processes, without the one that asks. */
const countSessions = async () =>
  (
    await valija.sql<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name LIKE 'valija %'`,
    )
  )[0]!.count

/** The most that a process has had resident, in MB. */
const mostResidentMb = (pid: number) =>
  Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024)

/** Looks at both tables, and at our sessions, each second until it is stopped. */
function watchTables() {
  const samples: Record<Table, Sample[]> = { deliveries: [], webhook_outbox: [] }
  let mostSessions = 0
  let isOver = false
  const watching = (async () => {
    while (!isOver) {
      for (const table of TABLES) samples[table].push(await look(table))
      mostSessions = Math.max(mostSessions, await countSessions())
      await delay(1_000)
    }
  })()
  return async () => {
    isOver = true
    await watching
    return { samples, mostSessions }
  }
}

const largest = (samples: Sample[], field: keyof Sample) => Math.max(...samples.map((one) => one[field]))
const kB = (bytes: number) => `${Math.round(bytes / 1024)} kB`

/** In the second half of the time the tables are no larger than in the first, but for what chance makes of it. */
function expectSteady(table: Table, samples: Sample[]): void {
  const middle = Math.ceil(samples.length / 2)
  const [first, second] = [samples.slice(0, middle), samples.slice(middle)]
  for (const field of ['tableBytes', 'indexBytes'] as const) {
    const limit = 1.5 * largest(first, field) + 2_000_000
    expect(largest(second, field), `${field} of ${table}`).toBeLessThanOrEqual(limit)
  }
}

test(
  `${DELIVERIES_AT_LEAST} deliveries and more, and their webhooks: the tables that they pass through are vacuumed in time, and stay as small as they were`,
  async () => {
    const created = await valija.api<{ secret: string }>('POST', '/webhooks', {
      url: receiver.url,
      events: ['message.delivered', 'message.deferred'],
    })
    receiver.secret = expectStatus(created, 201).json.secret
    const refused = new Set<string>()
    receiver.answers = ({ id }) => {
      if (!id.endsWith('0') || refused.has(id)) return {}
      refused.add(id)
      return { status: 500 }
    }
    const startedMs = performance.now()
    const stopWatching = watchTables()
    const deliveries = await produce()
    for (const table of TABLES)
      await until(
        `an empty ${table}`,
        async () => {
          if (table === 'webhook_outbox')
            await valija.sql(
              'UPDATE valija.webhook_outbox SET due_at = now() WHERE leased_until IS NULL AND due_at > now()',
            )
          return (await rowsOf(table)) === 0
        },
        timeFor(180_000),
      )
    const { samples, mostSessions } = await stopWatching()
    const seconds = (performance.now() - startedMs) / 1000
    const [api, worker] = [valija.apis[0]!, valija.workers[0]!].map(({ pid }) => mostResidentMb(pid))
    process.stdout.write(
      `${mostSessions} sessions of two processes at most; resident at most: API ${api} MB, worker ${worker} MB\n`,
    )
    expect(mostSessions).toBeLessThanOrEqual(24)
    // Nothing comes any more: what is left of the dead is what autovacuum leaves alone.
    const last = {} as Record<Table, Sample>
    for (const table of TABLES)
      last[table] = await until(
        `autovacuum has been at ${table}`,
        async () => {
          const now = await look(table)
          // A session tells the statistics what it did up to a second later.
          return now.deletes >= deliveries && now.vacuums > 0 && now.dead <= 1_100 ? now : null
        },
        timeFor(180_000),
      )
    for (const table of TABLES) {
      const { updates, hotUpdates, deletes, vacuums } = last[table]
      process.stdout.write(
        `${table}: ${deletes} rows gone in ${Math.round(seconds)} s, ${updates} updates, of which ${Math.round((100 * hotUpdates) / updates)} % HOT; ` +
          `dead at most ${largest(samples[table], 'dead')}, table ${kB(largest(samples[table], 'tableBytes'))}, indexes ${kB(largest(samples[table], 'indexBytes'))} at most; ${vacuums} autovacuums\n`,
      )
      expect(deletes).toBeGreaterThanOrEqual(deliveries)
      expect(largest(samples[table], 'dead')).toBeLessThan(DEAD_AT_MOST * (updates + deletes))
      expectSteady(table, samples[table])
    }
  },
  timeFor(420_000),
)

/** The goal; on a busy machine fewer mails share a commit, and each commit has its own record. */
const WAL_AT_MOST = isLong ? 15_000 : 20_000

/** Words that compress as a written text does, and not as a repeated one. */
function textOf(bytes: number): string {
  let seed = 1
  const next = () => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed
  }
  const words = Array.from({ length: 2_000 }, () =>
    next()
      .toString(36)
      .slice(0, 2 + (next() % 6)),
  )
  let text = ''
  while (text.length < bytes) text += `${words[next() % words.length]}${next() % 12 === 0 ? '\n' : ' '}`
  return text.slice(0, bytes)
}

/** Bytes of all that is partitioned by day, without and with bodies, and the place in the log. */
async function measureStorage() {
  const [row] = await valija.sql<{ rest: number; bodies: number; wal: string }>(
    `SELECT sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname !~ '^bodies')::int AS rest,
       sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname ~ '^bodies')::int AS bodies, pg_current_wal_lsn() AS wal
     FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'valija_parts' AND c.relkind = 'r'`,
  )
  return row!
}

test(
  `a mail of 10 KB leaves at most 6 KB in tables and indexes besides its body, and costs at most ${WAL_AT_MOST / 1000} KB of WAL`,
  async () => {
    const mails = scaled(10_000, 300)
    const text = textOf(10_000)
    const sendAll = async () => {
      await inParallel(mails, 8, (index) =>
        post(valija.api, valija.mail({ to: `one-${index}@example.org`, text })),
      )
      await until('all sent', async () => (await rowsOf('deliveries')) === 0, timeFor(PATIENCE_MS * 2))
    }
    // Every page that is written the first time after a checkpoint goes to the log as a whole: over minutes that is nothing, here it would be all.
    const before = await measureStorage()
    await sendAll()
    const after = await measureStorage()
    const [log] = await valija.sql<{ bytes: number }>('SELECT pg_wal_lsn_diff($1, $2)::int AS bytes', [
      after.wal,
      before.wal,
    ])
    const each = {
      rest: (after.rest - before.rest) / mails,
      body: (after.bodies - before.bodies) / mails,
      wal: log!.bytes / mails,
    }
    process.stdout.write(`a mail of 10 KB: ${JSON.stringify(each)} bytes\n`)
    expect(each.rest).toBeLessThanOrEqual(6_000)
    expect(each.wal).toBeLessThanOrEqual(WAL_AT_MOST)
  },
  timeFor(300_000),
)
