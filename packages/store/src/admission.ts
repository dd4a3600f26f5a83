/**
 * Admission: which waiting rows go to the workers next, and how rows that got lost on the way come back (DESIGN 4.2, 4.14).
 * What is picked is decided by packages/core/src/fair-share.ts; this file asks and writes.
 */
import type { Stream, Uuid } from '@valija/core'
import type pg from 'pg'

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
}

export interface AdmittedRow {
  recipientId: Uuid
  tenantId: Uuid
  stream: Stream
}

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
 * The streams that have something waiting and due. Walks the index from tenant to tenant, so its cost grows with the
 * number of tenants that wait, not with the number of rows.
 */
export async function findWaitingStreams(pool: pg.Pool): Promise<WaitingStream[]> {
  const result = await pool.query<WaitingStream>({
    name: 'waiting-streams',
    text: `
WITH RECURSIVE tenant AS (
  (SELECT tenant_id FROM valija.deliveries WHERE state = 'waiting' ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT d.tenant_id FROM valija.deliveries AS d
          WHERE d.state = 'waiting' AND d.tenant_id > tenant.tenant_id ORDER BY d.tenant_id LIMIT 1)
  FROM tenant WHERE tenant.tenant_id IS NOT NULL
)
SELECT tenant.tenant_id AS "tenantId", coalesce(t.weight, 1) AS weight, s.stream
FROM tenant
LEFT JOIN valija.tenants AS t ON t.id = tenant.tenant_id
CROSS JOIN (VALUES ('transactional'), ('bulk')) AS s (stream)
WHERE tenant.tenant_id IS NOT NULL AND ${hasDueRow('tenant.tenant_id', 's.stream')}`,
  })
  return result.rows
}

/** Rows that are admitted and not leased yet, counted up to `limit`. */
export async function countAdmitted(pool: pg.Pool, limit: number): Promise<number> {
  const result = await pool.query<{ count: number }>({
    name: 'count-admitted',
    text: `SELECT count(*)::int AS count FROM (SELECT FROM valija.deliveries WHERE state = 'admitted' LIMIT $1) AS busy`,
    values: [limit],
  })
  return result.rows[0]?.count ?? 0
}

/**
 * Admits the oldest due rows of each stream, as many as its quota says. Worded like `hasDueRow` so that one index only will do,
 * and with an array of what was picked: PostgreSQL cannot know the quotas, and would read the whole table for a join.
 */
export async function admitRows(pool: pg.Pool, quotas: readonly Quota[]): Promise<AdmittedRow[]> {
  const result = await pool.query<AdmittedRow>({
    name: 'admit-rows',
    text: `
WITH quota AS (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS input (tenant_id, stream, count)
), picked AS MATERIALIZED (
  SELECT d.recipient_id FROM quota CROSS JOIN LATERAL (
    SELECT recipient_id FROM valija.deliveries AS d
    WHERE d.tenant_id = quota.tenant_id AND d.state = 'waiting'
      AND (d.stream, d.due_at) >= (quota.stream, '-infinity'::timestamptz) AND (d.stream, d.due_at) <= (quota.stream, now())
    ORDER BY d.stream, d.due_at LIMIT quota.count FOR UPDATE SKIP LOCKED) AS d
)
UPDATE valija.deliveries AS d SET state = 'admitted', admitted_at = now()
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM picked)) AND d.state = 'waiting'
RETURNING d.recipient_id AS "recipientId", d.tenant_id AS "tenantId", d.stream`,
    values: [
      quotas.map((quota) => quota.tenantId),
      quotas.map((quota) => quota.stream),
      quotas.map((quota) => quota.count),
    ],
  })
  return result.rows
}

/** Milliseconds until the next waiting row is due, below 0 when one is overdue; null when none waits. */
export async function msUntilDue(pool: pg.Pool): Promise<number | null> {
  const result = await pool.query<{ ms: number | null }>({
    name: 'ms-until-due',
    text: `SELECT (extract(epoch FROM min(due_at) - clock_timestamp()) * 1000)::float8 AS ms
           FROM valija.deliveries WHERE state = 'waiting'`,
  })
  return result.rows[0]?.ms ?? null
}

/**
 * Rows wait again. One that another transaction has this moment is left alone: it is being leased, renewed or settled,
 * and if not, the next sweep finds it.
 */
const returnSql = (condition: string): string => `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries WHERE ${condition} ORDER BY recipient_id FOR UPDATE SKIP LOCKED
)
UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL, leased_until = NULL
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))`

/**
 * For how long, in milliseconds, the delivery that has waited longest has been due without a worker having it: waiting for the
 * dispatcher, or hinted and not taken. 0 when there is none.
 */
export async function oldestDueMs(pool: pg.Pool): Promise<number> {
  const result = await pool.query<{ ms: number | null }>(
    `SELECT (extract(epoch FROM clock_timestamp() - least(
       (SELECT min(due_at) FROM valija.deliveries WHERE state = 'waiting'),
       (SELECT min(due_at) FROM valija.deliveries WHERE state = 'admitted'))) * 1000)::float8 AS ms`,
  )
  return Math.max(0, result.rows[0]?.ms ?? 0)
}

/** Sends rows whose hint could not be given, or was lost, back to waiting. */
export async function readmit(pool: pg.Pool, recipientIds: readonly Uuid[]): Promise<number> {
  const result = await pool.query({
    name: 'readmit',
    text: returnSql(`recipient_id = ANY ($1::uuid[]) AND state = 'admitted'`),
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
 */
export async function releaseExpiredLeases(pool: pg.Pool): Promise<number> {
  const result = await pool.query({
    name: 'release-expired',
    text: returnSql(`state = 'leased' AND leased_until < now() - interval '2 seconds'
      AND pg_postmaster_start_time() < now() - interval '5 seconds'`),
  })
  return result.rowCount ?? 0
}
