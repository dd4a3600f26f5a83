/** Whether anything is still to be done: asked of the database, because a row that is left behind is what nobody would tell. */
import { setTimeout as delay } from 'node:timers/promises'
import { openHintQueue } from '@valija/store'
import pg from 'pg'
import { monotonicMs } from '../bench/program.ts'
import { untilShown } from '../tests/support/shown-events.ts'
import type { BacklogSample } from './recovery.ts'
import type { Finding } from './verdict.ts'
import type { World } from './world.ts'

export interface AtRest {
  tookMs: number
  findings: Finding[]
}

interface Left {
  deliveries: number
  /** Webhooks that are still to be told, of endpoints that are not given up. */
  webhooks: number
}

const lookEveryMs = 250
/** Hints that came twice, or too late, are taken within moments. */
const hintsWithinMs = 30_000

/** Waits until every delivery and webhook has its end, and then that no hint is left. */
export async function untilAtRest({ postgres, redis }: World, limitMs: number): Promise<AtRest> {
  const startedMs = monotonicMs()
  let left: Left = { deliveries: -1, webhooks: -1 }
  while (monotonicMs() - startedMs < limitMs) {
    left = await ask(postgres.url, countLeft).catch(() => left)
    if (left.deliveries === 0 && left.webhooks === 0) {
      const tookMs = monotonicMs() - startedMs
      return { tookMs, findings: await findHints(postgres.url, redis?.url ?? null) }
    }
    await delay(lookEveryMs)
  }
  const rows = await ask(postgres.url, describeLeft)
  const what = `after ${limitMs / 1000} s ${left.deliveries} deliveries and ${left.webhooks} webhooks are left: ${rows}`
  return { tookMs: monotonicMs() - startedMs, findings: [{ rule: 'rest', what }] }
}

async function findHints(databaseUrl: string, redisUrl: string | null): Promise<Finding[]> {
  const queue = await openHintQueue({ databaseUrl, redisUrl, onError: () => undefined })
  const startedMs = monotonicMs()
  try {
    for (;;) {
      const depth = await queue.depth()
      if (depth === 0) return []
      if (monotonicMs() - startedMs > hintsWithinMs)
        return [{ rule: 'rest', what: `${depth} hints are left` }]
      await delay(lookEveryMs)
    }
  } finally {
    await queue.close()
  }
}

/** Waits until `GET /events` shows all that was written. */
export const untilAllIsShown = ({ postgres }: World): Promise<void> =>
  ask(postgres.url, (client) => untilShown(async (sql) => (await client.query(sql)).rows))

async function ask<T>(url: string, question: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(url)
  try {
    return await question(client)
  } finally {
    await client.end()
  }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function countLeft(client: pg.Client): Promise<Left> {
  const { rows } = await client.query<Left>(
    `SELECT (SELECT count(*) FROM valija.deliveries)::int AS deliveries,
       (SELECT count(*) FROM valija.webhook_outbox)::int AS webhooks`,
  )
  return rows[0] ?? { deliveries: -1, webhooks: -1 }
}

async function describeLeft(client: pg.Client): Promise<string> {
  const { rows } = await client.query(
    `SELECT r.email, d.state, d.epoch, d.hold, d.due_at, d.leased_until, d.admitted_at, r.status, r.attempts, r.reply
     FROM valija.deliveries AS d LEFT JOIN valija.recipients AS r ON r.id = d.recipient_id LIMIT 20`,
  )
  return JSON.stringify(rows)
}

/** Looks every half second how long the oldest due delivery has waited in nobody's hands. */
export function watchBacklog(url: string): { samples: BacklogSample[]; stop(): Promise<void> } {
  const samples: BacklogSample[] = []
  let isStopped = false
  let client: pg.Client | null = null
  const look = async () => {
    try {
      client ??= await connect(url)
      const oldestMs = await readOldest(client)
      samples.push({ atMs: monotonicMs(), oldestMs })
    } catch {
      await leave()
    }
  }
  const leave = async () => {
    const left = client
    client = null
    await left?.end().catch(() => undefined)
  }
  const watching = (async () => {
    while (!isStopped) {
      await look()
      await delay(500)
    }
    await leave()
  })()
  return {
    samples,
    stop: async () => {
      isStopped = true
      await watching
    },
  }
}

async function readOldest(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ ms: number | null }>(
    `SELECT (extract(epoch FROM clock_timestamp() - min(due_at)) * 1000)::float8 AS ms FROM valija.deliveries
     WHERE state IN ('waiting', 'admitted') OR leased_until < now()`,
  )
  return Math.max(0, rows[0]?.ms ?? 0)
}
