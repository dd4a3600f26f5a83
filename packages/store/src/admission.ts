/**
 * Admission: which waiting rows go to the workers next, and how rows that got lost on the way come back (DESIGN 4.2, 4.14).
 * What is picked is decided by packages/core/src/fair-share.ts; this file asks and writes.
 */
import { crashesOfSuspect, type Stream, type Uuid } from '@valija/core'
import type pg from 'pg'
import { textArray } from './array-parameters.ts'
import { inTransaction } from './database.ts'
import { leaseMs } from './lease-deliveries.ts'
import { inIndexOrder, planOnce } from './plan-once.ts'

/** A tenant's stream that has rows waiting and due. */
export interface WaitingStream {
  tenantId: Uuid
  weight: number
  stream: Stream
}

/** How many rows of a stream to admit. */
export interface Quota {
  tenantId: Uuid
  stream: Stream
  count: number
  /** Rows for one domain that the stream may have in flight. */
  perDomain: number
}

export interface AdmittedRow {
  recipientId: Uuid
  tenantId: Uuid
  stream: Stream
}

/** An SQL condition, worded as that of deliveries_in_flight_idx. */
export const isInFlight = `state IN ('admitted', 'leased')`

/**
 * An SQL condition: the tenant has a row of the stream that waits and is due.
 *
 * One look at the first entry of deliveries_waiting_idx from that stream on. It is worded as an order with a limit, which only
 * that index can give, and not as EXISTS: once a few tenants have most of what waits, the planner expects the row
 * that EXISTS asks for soon, and reads the whole table for a tenant that has none (100 ms at 300,000 rows, against 0.1 ms).
 *
 * @param tenantId an SQL expression, as `stream`
 */
export function hasDueRow(tenantId: string, stream: string): string {
  return `coalesce((
    SELECT d.stream = ${stream} AND d.due_at <= now() FROM valija.deliveries AS d
    WHERE d.tenant_id = ${tenantId} AND d.state = 'waiting' AND (d.stream, d.due_at) >= (${stream}, '-infinity'::timestamptz)
    ORDER BY d.stream, d.due_at LIMIT 1), false)`
}

/**
 * An SQL condition on the state of a row that is found by its recipient, worded so that no index of a state can answer it.
 *
 * Whenever PostgreSQL has last counted few rows in that state, it takes the index of those for the quickest way to any of them, and looks
 * through all that there are by now for each: 2,000 leases are renewed by 4,000,000 looks, and to admit eight rows all that wait are read. The
 * primary key finds one at once.
 *
 * @param column an SQL expression
 */
export function isInState(column: string, state: 'waiting' | 'admitted' | 'leased'): string {
  return `${column} || '' = '${state}'`
}

/** An expression `tenant` of those that have something waiting; walks the index from one to the next. */
export const waitingTenants = `tenant AS (
  (SELECT tenant_id FROM valija.deliveries WHERE state = 'waiting' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.tenant_id FROM valija.deliveries AS d
          WHERE d.state = 'waiting' AND d.tenant_id > tenant.tenant_id ORDER BY d.tenant_id LIMIT 1)
  FROM tenant WHERE tenant.tenant_id IS NOT NULL
)`

/** An expression `first` behind `tenant`: when the first waiting row of each tenant and stream is due; without what is suspended or held. */
const firstDue = `first AS MATERIALIZED (
  SELECT s.stream, next.due_at FROM tenant JOIN valija.tenants AS t ON t.id = tenant.tenant_id AND t.suspended_at IS NULL
    CROSS JOIN (VALUES ('transactional'), ('bulk')) AS s (stream)
    CROSS JOIN LATERAL (
      SELECT d.stream, d.due_at FROM valija.deliveries AS d
      WHERE d.tenant_id = tenant.tenant_id AND d.state = 'waiting' AND (d.stream, d.due_at) >= (s.stream, '-infinity'::timestamptz)
      ORDER BY d.stream, d.due_at LIMIT 1) AS next
  WHERE next.stream = s.stream AND (s.stream <> 'bulk' OR t.bulk_paused_at IS NULL)
)`

/**
 * The earliest time at which a waiting row is due, as an SQL expression; rows of suspended tenants, and bulk mail that is held, do not count. While there are none such, the
 * first entry of one index says it; else the first of each tenant and stream.
 */
const earliestDue = `CASE WHEN EXISTS (SELECT FROM valija.tenants WHERE suspended_at IS NOT NULL)
    OR EXISTS (SELECT FROM valija.tenants WHERE bulk_paused_at IS NOT NULL) THEN (
    WITH RECURSIVE ${waitingTenants}, ${firstDue} SELECT min(due_at) FROM first)
  ELSE (SELECT min(due_at) FROM valija.deliveries WHERE state = 'waiting') END`

/**
 * The streams that have something waiting and due, of tenants that are not suspended, and none that is held. Walks the index from tenant to tenant, so its cost grows with the
 * number of tenants that wait, not with the number of rows.
 */
export async function findWaitingStreams(pool: pg.Pool): Promise<WaitingStream[]> {
  const result = await pool.query<WaitingStream>({
    name: 'waiting-streams',
    text: `
WITH RECURSIVE ${waitingTenants}
SELECT tenant.tenant_id AS "tenantId", coalesce(t.weight, 1) AS weight, s.stream
FROM tenant
LEFT JOIN valija.tenants AS t ON t.id = tenant.tenant_id
CROSS JOIN (VALUES ('transactional'), ('bulk')) AS s (stream)
WHERE tenant.tenant_id IS NOT NULL AND t.suspended_at IS NULL
  AND (s.stream <> 'bulk' OR t.bulk_paused_at IS NULL) AND ${hasDueRow('tenant.tenant_id', 's.stream')}`,
  })
  return result.rows
}

/** What of a tenant's stream is under way to a domain. */
export interface InFlight {
  tenantId: Uuid
  stream: Stream
  domain: string
  /** Hinted to the workers, and not taken yet. */
  admitted: number
  /** In a worker's hands. */
  leased: number
}

/**
 * A lease is renewed every 10 s. One that has not been for longer is most likely that of a worker that was killed: it keeps anybody
 * else from sending the mail until it runs out, but not from sending another one. Counted for all its 30 s, what one worker had
 * in hand would keep the one that takes its place from nearly all work (measured: 6 mails a second instead of 42).
 */
const unrenewedMs = 13_000

/**
 * Rows that are admitted, or leased by a worker that lives, by stream and domain: seldom more than the workers can hold, and the
 * dispatcher's window.
 */
export async function countInFlight(client: TurnClient): Promise<InFlight[]> {
  const result = await client.query<InFlight>({
    name: 'count-in-flight',
    text: `SELECT tenant_id AS "tenantId", stream, domain, count(*) FILTER (WHERE state = 'admitted')::int AS admitted,
             count(*) FILTER (WHERE state = 'leased')::int AS leased
           FROM valija.deliveries
           WHERE ${isInFlight} AND (state = 'admitted' OR leased_until > now() + make_interval(secs => ${(leaseMs - unrenewedMs) / 1000}))
           GROUP BY tenant_id, stream, domain`,
  })
  return result.rows
}

/** A process that is stopped between two statements keeps its rows from the others for so long, in milliseconds. */
const stoppedMs = 5_000

/*
 * With the plan of the hour in which little waited, 20,000 rows were read twice to admit eight: hence `planOnce`.
 * Its commit waits for no disk: an admission that a crash takes back is made again, and every lease that rests on one is written after it.
 */
const beginTurn = [
  'BEGIN',
  planOnce,
  inIndexOrder,
  'SET LOCAL synchronous_commit = off',
  `SET LOCAL idle_in_transaction_session_timeout = ${stoppedMs}`,
].join('; ')

/** The connection of such a transaction. A pool will do as well, only slower. */
export type TurnClient = pg.Pool | pg.PoolClient

/**
 * A transaction in which what is in flight is counted and rows are admitted.
 *
 * @param work uses this connection only, and waits for nothing else: it may hold rows
 */
export function admitInTurn<T>(pool: pg.Pool, work: (client: TurnClient) => Promise<T>): Promise<T> {
  return inTransaction(pool, beginTurn, work)
}

/*
 * What is in flight comes as an object per quota, in which each row finds its domain: joined, it was looked through for each row, 3.7 ms instead
 * of 0.8 to admit 30 rows where 75 domains had mail in flight.
 */
const admitSql = `
WITH quota AS MATERIALIZED (
  SELECT tenant_id, stream, count, per_domain, busy::jsonb AS busy, coalesce(from_due, '-infinity') AS from_due, looked_at
  FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::timestamptz[], $7::bigint[])
    AS input (tenant_id, stream, count, per_domain, busy, from_due, looked_at)
  WHERE NOT EXISTS (SELECT FROM valija.tenants AS t
    WHERE t.id = input.tenant_id AND (t.suspended_at IS NOT NULL OR (input.stream = 'bulk' AND t.bulk_paused_at IS NOT NULL)))
), picked AS MATERIALIZED (
  SELECT chosen.recipient_id FROM quota CROSS JOIN LATERAL (
    SELECT near.recipient_id FROM (
      SELECT d.recipient_id, d.due_at, d.busy + row_number() OVER (PARTITION BY d.domain ORDER BY d.due_at) AS nth
      FROM (
        SELECT recipient_id, domain, due_at, coalesce((quota.busy -> domain)::integer, 0) AS busy FROM valija.deliveries AS d
        WHERE d.tenant_id = quota.tenant_id AND d.state = 'waiting'
          AND (d.stream, d.due_at) >= (quota.stream, quota.from_due) AND (d.stream, d.due_at) <= (quota.stream, now())
        ORDER BY d.stream, d.due_at LIMIT quota.looked_at) AS d
      WHERE d.busy < quota.per_domain
    ) AS near
    WHERE near.nth <= quota.per_domain
    ORDER BY near.due_at, near.recipient_id LIMIT quota.count) AS chosen
), locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries AS d
  WHERE recipient_id = ANY (ARRAY(SELECT recipient_id FROM picked)) AND ${isInState('state', 'waiting')}
  ORDER BY recipient_id FOR UPDATE SKIP LOCKED
)
UPDATE valija.deliveries AS d SET state = 'admitted', admitted_at = now()
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
RETURNING d.recipient_id AS "recipientId", d.tenant_id AS "tenantId", d.stream`

/**
 * Admits the oldest due rows of each stream, as many as its quota says and no more than it allows for one domain. Worded like
 * `hasDueRow` so that one index only will do, and with an array of what was picked: PostgreSQL cannot know the quotas, and would
 * read the whole table for a join. Whoever has been suspended since the quotas were made, or has bulk mail held, gets nothing.
 *
 * @param lookOf which of a stream's rows are looked at
 */
export async function admitRows(
  client: TurnClient,
  quotas: readonly Quota[],
  inFlight: readonly InFlight[],
  lookOf: LookOf,
): Promise<AdmittedRow[]> {
  const busy = busyDomains(inFlight)
  const looks = quotas.map(lookOf)
  const result = await client.query<AdmittedRow>({
    name: 'admit-rows',
    text: admitSql,
    values: [
      quotas.map((quota) => quota.tenantId),
      quotas.map((quota) => quota.stream),
      quotas.map((quota) => quota.count),
      quotas.map((quota) => quota.perDomain),
      textArray(quotas.map((quota) => JSON.stringify(busy.get(streamName(quota)) ?? {}))),
      looks.map(({ from }) => from),
      looks.map(({ rows }) => rows),
    ],
  })
  return result.rows
}

/** Some of the due rows of a stream, in the order in which they are due. */
export interface Look {
  /** The first is not due before this; null: the oldest. */
  from: Date | null
  /** How many; null: all, which takes about a millisecond for a thousand. */
  rows: number | null
}

export type LookOf = (quota: Quota) => Look

/** The oldest of a stream: so many for each that may be admitted. */
export function oldest(times: number): LookOf {
  return ({ count }) => ({ from: null, rows: count * times })
}

/**
 * When the row is due that follows a look's. For looks at some rows only.
 *
 * @returns for each quota; null: none follows
 */
export async function findEndsOfLooks(
  client: TurnClient,
  quotas: readonly Quota[],
  lookOf: LookOf,
): Promise<(Date | null)[]> {
  const looks = quotas.map(lookOf)
  const result = await client.query<{ next: Date | null }>({
    name: 'ends-of-looks',
    text: `
SELECT (
  SELECT d.due_at FROM valija.deliveries AS d
  WHERE d.tenant_id = input.tenant_id AND d.state = 'waiting'
    AND (d.stream, d.due_at) >= (input.stream, coalesce(input.from_due, '-infinity')) AND (d.stream, d.due_at) <= (input.stream, now())
  ORDER BY d.stream, d.due_at OFFSET input.looked_at LIMIT 1) AS next
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[]) WITH ORDINALITY AS input (tenant_id, stream, from_due, looked_at, nth)
ORDER BY nth`,
    values: [
      quotas.map((quota) => quota.tenantId),
      quotas.map((quota) => quota.stream),
      looks.map(({ from }) => from),
      looks.map(({ rows }) => rows),
    ],
  })
  return result.rows.map(({ next }) => next)
}

/** Of each stream, the rows in flight by domain. */
function busyDomains(inFlight: readonly InFlight[]): Map<string, Record<string, number>> {
  const streams = new Map<string, Record<string, number>>()
  for (const entry of inFlight) {
    const domains = streams.get(streamName(entry)) ?? {}
    domains[entry.domain] = entry.admitted + entry.leased
    streams.set(streamName(entry), domains)
  }
  return streams
}

const streamName = ({ tenantId, stream }: { tenantId: Uuid; stream: Stream }) => `${tenantId}/${stream}`

/** Milliseconds until the next waiting row is due, below 0 when one is overdue; null when none waits. */
export async function msUntilDue(pool: pg.Pool): Promise<number | null> {
  const result = await pool.query<{ ms: number | null }>({
    name: 'ms-until-due',
    text: `SELECT (extract(epoch FROM ${earliestDue} - clock_timestamp()) * 1000)::float8 AS ms`,
  })
  return result.rows[0]?.ms ?? null
}

/**
 * Rows wait again. One that another transaction has this moment is left alone: it is being leased, renewed or settled,
 * and if not, the next sweep finds it.
 */
const returnSql = (condition: string, counted = ''): string => `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries WHERE ${condition} ORDER BY recipient_id FOR UPDATE SKIP LOCKED
)
UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL, leased_until = NULL${counted}
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))`

const oldestDueSql = `
WITH RECURSIVE ${waitingTenants}, ${firstDue}
SELECT s.stream, (extract(epoch FROM clock_timestamp() - least(
  (SELECT min(first.due_at) FROM first WHERE first.stream = s.stream),
  (SELECT min(d.due_at) FROM valija.deliveries AS d WHERE d.state = 'admitted' AND d.stream = s.stream))) * 1000)::float8 AS ms
FROM (VALUES ('transactional'), ('bulk')) AS s (stream)`

/**
 * For how long, in milliseconds, the delivery of each stream that has waited longest has been due without a worker having it: waiting for the
 * dispatcher, or hinted and not taken. 0 when there is none. By stream, since a campaign may wait for its turn and a code may not.
 */
export async function oldestDueMs(pool: pg.Pool): Promise<Record<Stream, number>> {
  const { rows } = await inTransaction(pool, `BEGIN; ${inIndexOrder}`, (client) =>
    client.query<{ stream: Stream; ms: number | null }>(oldestDueSql),
  )
  const of = (stream: Stream) => Math.max(0, rows.find((row) => row.stream === stream)?.ms ?? 0)
  return { transactional: of('transactional'), bulk: of('bulk') }
}

/** Sends rows whose hint could not be given, or was lost, back to waiting. */
export async function readmit(pool: pg.Pool, recipientIds: readonly Uuid[]): Promise<number> {
  const result = await pool.query({
    name: 'readmit',
    text: returnSql(`recipient_id = ANY ($1::uuid[]) AND ${isInState('state', 'admitted')}`),
    values: [recipientIds],
  })
  return result.rowCount ?? 0
}

/** The queue's store lost its content: every admitted row waits again, at once. */
export async function readmitAll(pool: pg.Pool): Promise<number> {
  const result = await pool.query(returnSql(`state = 'admitted'`))
  return result.rowCount ?? 0
}

/** Rows admitted longer ago than this wait again: their hint is taken for lost. */
export async function readmitOlderThan(pool: pg.Pool, ageMs: number): Promise<number> {
  const result = await pool.query(
    returnSql(`state = 'admitted' AND admitted_at < now() - make_interval(secs => $1)`),
    [ageMs / 1000],
  )
  return result.rowCount ?? 0
}

/**
 * Leases that ran out: their worker is dead or stopped; the rows are due at once.
 *
 * Not within 2 s of their end, and not within 5 s of PostgreSQL's start: workers that were cut off from it hold results in
 * memory, ask again every 500 ms, and are to come before the sweep, or those mails would be sent again.
 *
 * Each is counted as a crash that its mail had part in. Nearly all are innocent; `suspects` have been there so often in a row that
 * they are delivered alone from now on.
 */
export async function releaseExpiredLeases(pool: pg.Pool): Promise<{ count: number; suspects: number }> {
  const result = await pool.query<{ crashes: number }>({
    name: 'release-expired',
    text: `${returnSql(
      `state = 'leased' AND leased_until < now() - interval '2 seconds'
      AND now() NOT BETWEEN pg_postmaster_start_time() AND pg_postmaster_start_time() + interval '5 seconds'`,
      ', crashes = d.crashes + 1',
    )} RETURNING d.crashes`,
  })
  const suspects = result.rows.filter(({ crashes }) => crashes === crashesOfSuspect)
  return { count: result.rows.length, suspects: suspects.length }
}

/** Deliveries that are delivered alone, since their worker died with them too often. */
export async function countSuspects(pool: pg.Pool): Promise<number> {
  const result = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM valija.deliveries WHERE crashes >= ${crashesOfSuspect}`,
  )
  return result.rows[0]?.count ?? 0
}
