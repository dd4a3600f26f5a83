/**
 * After PostgreSQL was set back to an earlier time: mail that may have been delivered since, of which the rows know nothing
 * (docs/operations.md, "Backup and restore"). It is held until the operator lets it go or has it ended.
 *
 * Held is a row that waits until its time is over, with a mark that stays with it (restored-mark.ts) and that `explain` reads. A worker that comes
 * to it sends nothing: it gives it back, or ends it as uncertain when its time is over. It counts as one whose final dot may have gone out, so that nothing
 * of an at-most-once tenant is sent again once it is let go.
 */
import { lowestUuidAt, type Stream, streams, type Uuid } from '@valija/core'
import type pg from 'pg'
import { isInState } from './admission.ts'
import { newRestoredMarkSql, restoredMark, restoredMarks } from './restored-mark.ts'
import { releaseHeld } from './route-health.ts'
import { extendedSql } from './suspend-tenant.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** Rows held in one statement. */
const holdBatch = 5_000

/** Which of what is held. */
export interface RestoredFilter {
  /** Null: everybody's. */
  tenantId: Uuid | null
  /** Null: both. */
  stream: Stream | null
}

/** What is held of a tenant's stream. */
export interface RestoredCount {
  tenantId: Uuid
  name: string | null
  stream: Stream
  count: number
  isAtMostOnce: boolean
}

/**
 * What a time of loss is held against: it lies between the newest that came back, as far as the database knows, and now.
 */
export async function readRestorePoint(
  pool: pg.Pool,
): Promise<{ now: Date; newestEvent: Uuid | null; isHolding: boolean }> {
  const { rows } = await pool.query<{ now: Date; newestEvent: Uuid | null; isHolding: boolean }>(
    `SELECT clock_timestamp() AS now, (SELECT id FROM valija.events ORDER BY id DESC LIMIT 1) AS "newestEvent",
       EXISTS (SELECT FROM valija.deliveries WHERE hold = ANY ($1::text[])) AS "isHolding"`,
    [restoredMarks],
  )
  return rows[0]!
}

/**
 * Holds all that workers may have had, or may have come to by the time of the loss: what is admitted or leased, what was due by then, and what waited for
 * something that may have come sooner than it was thought to. No worker runs. What the simulator plays stays: it never leaves.
 *
 * It goes by rising recipient id, and waits for rows that somebody has: none may be left out.
 *
 * @returns how many
 */
export async function holdRestored(pool: pg.Pool, dueBy: Date): Promise<number> {
  let held = 0
  let after = lowestUuidAt(0)
  for (;;) {
    const { rows } = await pool.query<{ count: number; last: Uuid | null }>({
      text: `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries
  WHERE recipient_id > $4 AND simulation IS NULL AND (hold IS NULL OR hold <> ALL ($3::text[]))
    AND (state <> 'waiting' OR hold IS NOT NULL OR due_at <= $1::timestamptz)
  ORDER BY recipient_id LIMIT $2 FOR UPDATE
), held AS (
  UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL, leased_until = NULL, dot_epoch = d.epoch,
    hold = ${newRestoredMarkSql('d')}, due_at = ${extendedSql('d', 'deliveries')}
  WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked)) RETURNING d.recipient_id, d.due_at
), shown AS (
  UPDATE valija.recipients AS r SET next_attempt_at = held.due_at FROM held WHERE r.id = held.recipient_id
)
SELECT count(*)::int AS count, (SELECT recipient_id FROM locked ORDER BY recipient_id DESC LIMIT 1) AS last FROM held`,
      values: [dueBy, holdBatch, restoredMarks, after],
      ...answerWithin(longQueryTimeoutMs),
    })
    const { count, last } = rows[0]!
    if (last === null) return held
    held += count
    after = last
  }
}

/** What is held, the most first. */
export async function countRestored(pool: pg.Pool): Promise<RestoredCount[]> {
  const { rows } = await pool.query<RestoredCount>(
    `SELECT d.tenant_id AS "tenantId", t.name, d.stream, count(*)::int AS count, coalesce(t.at_most_once, false) AS "isAtMostOnce"
     FROM valija.deliveries AS d LEFT JOIN valija.tenants AS t ON t.id = d.tenant_id
     WHERE d.state = 'waiting' AND d.hold = ANY ($1::text[]) GROUP BY d.tenant_id, t.name, d.stream, t.at_most_once ORDER BY count(*) DESC, d.tenant_id, d.stream`,
    [restoredMarks],
  )
  return rows
}

/** Lets it go: it is due at once. @returns how many */
export async function releaseRestored(pool: pg.Pool, { tenantId, stream }: RestoredFilter): Promise<number> {
  let released = 0
  for (const one of stream === null ? streams : [stream]) {
    released += await releaseHeld(pool, restoredMark(one), tenantId)
  }
  return released
}

/**
 * Admits some of what is held, for a caller that leases it and has it ended.
 *
 * @param onlyAtMostOnce of tenants that chose that what may have arrived is not repeated
 */
export async function admitRestored(
  pool: pg.Pool,
  { tenantId, stream }: RestoredFilter,
  { onlyAtMostOnce, limit }: { onlyAtMostOnce: boolean; limit: number },
): Promise<Uuid[]> {
  const { rows } = await pool.query<{ id: Uuid }>({
    text: `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries AS d
  WHERE ${isInState('d.state', 'waiting')} AND d.hold = ANY ($1::text[]) AND ($2::uuid IS NULL OR d.tenant_id = $2)
    AND (NOT $3 OR (SELECT t.at_most_once FROM valija.tenants AS t WHERE t.id = d.tenant_id))
  ORDER BY recipient_id LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE valija.deliveries AS d SET state = 'admitted', admitted_at = now()
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked)) RETURNING d.recipient_id AS id`,
    values: [stream === null ? restoredMarks : [restoredMark(stream)], tenantId, onlyAtMostOnce, limit],
    ...answerWithin(longQueryTimeoutMs),
  })
  return rows.map(({ id }) => id)
}
