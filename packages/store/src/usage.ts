/**
 * What tenants and keys have used of their limits: one row per limit, in PostgreSQL, so that it holds over all processes.
 *
 * It is drawn before a message is accepted, in a transaction of its own that lasts three round trips: no accept waits for another one's
 * commit. It does not wait for the disk either: whatever is accepted afterwards is behind it in the log, so that a crash which keeps a
 * message keeps what was drawn for it. What was drawn in vain is given back; a process that dies in between leaves a few too many
 * counted, never too few.
 *
 * A process that stops in between (its machine is put to sleep) holds what it has locked until PostgreSQL ends its transaction. Nobody
 * waits for a row longer than it is told to.
 */
import { formatId, isQuota, type UsageLimit, type UsageState, type Uuid, windowEndMs } from '@valija/core'
import type pg from 'pg'
import { type Database, inTransaction } from './database.ts'
import { databaseCodeOf } from './database-errors.ts'
import { eventExpressionsOf } from './new-events.ts'

/** A limit, and how much of it is to be drawn. */
export interface Take {
  limit: UsageLimit
  /** The recipient that is counted; empty: all. */
  emailKey: string
  amount: number
}

/** What is drawn together: all of it or nothing. */
export interface Draw {
  tenantId: Uuid
  takes: readonly Take[]
}

/** A limit as a draw has left it. */
export interface TakeState extends UsageState {
  emailKey: string
}

export type DrawResult =
  | { kind: 'drawn'; states: TakeState[] }
  /** Nothing was drawn. */
  | { kind: 'refused'; states: TakeState[]; by: TakeState }

interface Counter {
  tenantId: Uuid
  limit: UsageLimit
  emailKey: string
  used: number
  endsAtMs: number
  isTold: boolean
  isChanged: boolean
}

interface CounterRow {
  ownerId: Uuid
  name: string
  emailKey: string
  used: number
  endsAtMs: number
  isTold: boolean
  nowMs: number
}

/** Some hundred times what a draw takes: whoever is between two of its statements for so long has stopped. */
const idleMs = 5_000

const beginSql = (lockWaitMs: number) =>
  `BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = ${lockWaitMs}; SET LOCAL idle_in_transaction_session_timeout = ${idleMs}`

/** Whether a row was not to be had in the time; nothing was drawn then. */
export function isLockTimeout(error: unknown): boolean {
  return databaseCodeOf(error) === '55P03'
}

/**
 * Draws what many ask for, in their order.
 *
 * @param lockWaitMs so long each row is waited for that others have locked; then it throws (isLockTimeout)
 * @returns per draw what came of it, and whether endpoints have something to be told
 */
export async function drawUsage(
  database: Database,
  draws: readonly Draw[],
  lockWaitMs: number,
): Promise<{ results: DrawResult[]; hasWebhooks: boolean }> {
  return inTransaction(database.engine, beginSql(lockWaitMs), async (client) => {
    const { counters, nowMs } = await lockCounters(client, draws)
    const results = draws.map((draw) => drawOne(draw, counters, nowMs))
    const told = [...counters.values()].filter(
      ({ limit, used, isTold, isChanged }) =>
        isChanged && !isTold && isQuota(limit.name) && used >= limit.value,
    )
    for (const counter of told) counter.isTold = true
    await writeCounters(
      client,
      [...counters.values()].filter(({ isChanged }) => isChanged),
    )
    return { results, hasWebhooks: await tellReached(client, told) }
  })
}

/** By so much a clock may be put right without any window's end. */
const aheadMs = 1_000

const nameOf = (ownerId: Uuid, name: string, emailKey: string) => `${ownerId} ${name} ${emailKey}`

/** Takes the rows of all limits that are asked for, in one order, and makes those that are missing. */
async function lockCounters(client: pg.PoolClient, draws: readonly Draw[]) {
  const wanted = new Map<string, Counter>()
  for (const { tenantId, takes } of draws) {
    for (const { limit, emailKey } of takes) {
      const name = nameOf(limit.ownerId, limit.name, emailKey)
      const fresh = { tenantId, limit, emailKey, used: 0, endsAtMs: 0, isTold: false, isChanged: false }
      if (!wanted.has(name)) wanted.set(name, fresh)
    }
  }
  let rows = await lockRows(client, wanted)
  // Housekeeping may take one away between the two, whose window is over.
  while (rows.length < wanted.size) {
    await client.query({
      name: 'usage-insert',
      text: `INSERT INTO valija.usage (tenant_id, owner_id, name, email_key, used, ends_at)
             SELECT *, 0, clock_timestamp() - interval '1 s' FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS input (tenant_id, owner_id, name, email_key)
             ORDER BY owner_id, name, email_key ON CONFLICT DO NOTHING`,
      values: [[...wanted.values()].map(({ tenantId }) => tenantId), ...namesOf([...wanted.values()])],
    })
    rows = await lockRows(client, wanted)
  }
  // In whole milliseconds, as windows end: one that begins now is as long as is said, and not a part of one longer.
  const nowMs = Math.ceil(rows[0]?.nowMs ?? 0)
  for (const { ownerId, name, emailKey, used, endsAtMs, isTold } of rows) {
    const counter = wanted.get(nameOf(ownerId, name, emailKey))!
    const newEndMs = windowEndMs(counter.limit.name, nowMs)
    // One that ends later than one that begins now was begun by a clock that was ahead (clock-jumps.ts).
    if (endsAtMs > nowMs && endsAtMs <= newEndMs + aheadMs) Object.assign(counter, { used, endsAtMs, isTold })
    else counter.endsAtMs = newEndMs
  }
  return { counters: wanted, nowMs }
}

async function lockRows(client: pg.PoolClient, wanted: ReadonlyMap<string, Counter>): Promise<CounterRow[]> {
  const { rows } = await client.query<CounterRow>({
    name: 'usage-lock',
    text: `
SELECT u.owner_id AS "ownerId", u.name, u.email_key AS "emailKey", u.used, u.is_told AS "isTold",
  round(extract(epoch FROM u.ends_at) * 1000)::float8 AS "endsAtMs", extract(epoch FROM clock_timestamp())::float8 * 1000 AS "nowMs"
FROM (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS input (owner_id, name, email_key)
      ORDER BY owner_id, name, email_key) AS input
CROSS JOIN LATERAL (SELECT * FROM valija.usage AS u WHERE u.owner_id = input.owner_id AND u.name = input.name
  AND u.email_key = input.email_key FOR UPDATE) AS u`,
    values: namesOf([...wanted.values()]),
  })
  return rows
}

function namesOf(counters: readonly Pick<Counter, 'limit' | 'emailKey'>[]): unknown[] {
  return [
    counters.map(({ limit }) => limit.ownerId),
    counters.map(({ limit }) => limit.name),
    counters.map(({ emailKey }) => emailKey),
  ]
}

function drawOne({ takes }: Draw, counters: ReadonlyMap<string, Counter>, nowMs: number): DrawResult {
  const found = takes.map((take) => {
    const counter = counters.get(nameOf(take.limit.ownerId, take.limit.name, take.emailKey))!
    return { take, counter, fits: counter.used + take.amount <= take.limit.value }
  })
  const stateOf = ({ take, counter }: (typeof found)[number]): TakeState => ({
    ...take.limit,
    emailKey: take.emailKey,
    left: Math.max(0, take.limit.value - counter.used),
    resetAtMs: counter.endsAtMs,
    resetInMs: counter.endsAtMs - nowMs,
  })
  // What lasts longest: whoever came back for another one would be refused again.
  const refusing = found.filter(({ fits }) => !fits).sort((a, b) => b.counter.endsAtMs - a.counter.endsAtMs)
  if (refusing[0]) {
    return { kind: 'refused', states: found.map(stateOf), by: stateOf(refusing[0]) }
  }
  for (const { take, counter } of found) {
    counter.used += take.amount
    counter.isChanged = true
  }
  return { kind: 'drawn', states: found.map(stateOf) }
}

async function writeCounters(client: pg.PoolClient, counters: readonly Counter[]): Promise<void> {
  if (counters.length === 0) return
  await client.query({
    name: 'usage-write',
    text: `
UPDATE valija.usage AS u SET used = input.used, ends_at = input.ends_at, is_told = input.is_told
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::boolean[])
  AS input (owner_id, name, email_key, used, ends_at, is_told)
WHERE u.owner_id = input.owner_id AND u.name = input.name AND u.email_key = input.email_key`,
    values: [
      ...namesOf(counters),
      counters.map(({ used }) => used),
      counters.map(({ endsAtMs }) => new Date(endsAtMs)),
      counters.map(({ isTold }) => isTold),
    ],
  })
}

/** `quota.reached`, once per quota and period: with the rows that say that it was told, or not at all. */
async function tellReached(client: pg.PoolClient, reached: readonly Counter[]): Promise<boolean> {
  if (reached.length === 0) return false
  await client.query('SET LOCAL synchronous_commit = on')
  const { rowCount } = await client.query({
    text: `WITH ${eventExpressionsOf(`SELECT tenant_id, 'quota.reached' AS type, data::jsonb AS data
             FROM unnest($1::uuid[], $2::text[]) AS input (tenant_id, data)`)} SELECT FROM outbox`,
    values: [
      reached.map(({ tenantId }) => tenantId),
      reached.map(({ limit, used, endsAtMs }) =>
        JSON.stringify({
          limit: limit.name,
          of: limit.of,
          ...(limit.of === 'key' && { key_id: formatId('key', limit.ownerId) }),
          value: limit.value,
          used,
          resets_at: new Date(endsAtMs).toISOString(),
        }),
      ),
    ],
  })
  return (rowCount ?? 0) > 0
}

/** What was drawn, to be given back. */
export interface DrawnTake extends Take {
  /** Its window, as the draw found it. */
  resetAtMs: number
}

/** A client waits for it. */
const giveBackWaitMs = 1_000

/** Gives back what was drawn for what was not accepted after all, as far as its window lasts. */
export async function giveBackUsage(
  database: Database,
  tenantId: Uuid,
  takes: readonly DrawnTake[],
): Promise<void> {
  await inTransaction(database.engine, beginSql(giveBackWaitMs), async (client) => {
    const { counters } = await lockCounters(client, [{ tenantId, takes }])
    for (const { limit, emailKey, amount, resetAtMs } of takes) {
      const counter = counters.get(nameOf(limit.ownerId, limit.name, emailKey))!
      if (counter.endsAtMs !== resetAtMs) continue
      counter.used = Math.max(0, counter.used - amount)
      counter.isChanged = true
    }
    await writeCounters(
      client,
      [...counters.values()].filter(({ isChanged }) => isChanged),
    )
  })
}

/** Forgets windows that are over, some thousands at once: their limits begin anew without them. */
export async function forgetOldUsage(pool: pg.Pool): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.usage WHERE (owner_id, name, email_key) IN (
       SELECT owner_id, name, email_key FROM valija.usage WHERE ends_at < now() LIMIT 5000 FOR UPDATE SKIP LOCKED)`,
  )
  return result.rowCount ?? 0
}
