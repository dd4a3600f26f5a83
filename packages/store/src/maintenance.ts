/**
 * What a database needs from time to time, whoever sends.
 */
import type pg from 'pg'

/** Partitions are made this many days ahead: the installation can be without a worker for that long. */
export const partitionDaysAhead = 14

/** @returns how many partitions were made */
export async function ensurePartitions(pool: pg.Pool): Promise<number> {
  const result = await pool.query<{ made: number }>('SELECT valija.ensure_partitions($1) AS made', [
    partitionDaysAhead,
  ])
  return result.rows[0]?.made ?? 0
}

const contentTables = ['bodies']
const historyTables = ['messages', 'recipients', 'attempts', 'events', 'webhook_tries']

/**
 * Drops the days that are older than the retention and hold nothing live (`VALIJA_RETENTION_CONTENT`, `VALIJA_RETENTION_EVENTS`,
 * in milliseconds).
 *
 * @returns how many partitions were dropped
 */
export async function dropOldPartitions(
  pool: pg.Pool,
  retention: { contentMs: number; historyMs: number },
): Promise<number> {
  let dropped = 0
  for (const [tables, keptMs] of [
    [contentTables, retention.contentMs],
    [historyTables, retention.historyMs],
  ] as const) {
    const result = await pool.query<{ dropped: number }>(
      `SELECT sum(valija.drop_partitions(parent, now() - make_interval(secs => $2)))::int AS dropped FROM unnest($1::text[]) AS parent`,
      [tables, keptMs / 1000],
    )
    dropped += result.rows[0]?.dropped ?? 0
  }
  return dropped
}

/** The inbox keeps mails as long as bodies are kept. */
export async function forgetOldInboxMails(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.inbox WHERE id IN (
       SELECT id FROM valija.inbox WHERE received_at < now() - make_interval(secs => $1) LIMIT 1000)`,
    [keptMs / 1000],
  )
  return result.rowCount ?? 0
}

/** Forgets idempotency keys whose time is over, some thousands at once, so that nothing waits for it. */
export async function forgetOldKeys(pool: pg.Pool): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.idempotency_keys WHERE (tenant_id, key) IN (
       SELECT tenant_id, key FROM valija.idempotency_keys WHERE expires_at < now() ORDER BY expires_at LIMIT 5000)`,
  )
  return result.rowCount ?? 0
}

/** Rows in a default partition: their day had no partition of its own, and retention would not find them. */
export async function countStrayRows(pool: pg.Pool): Promise<number> {
  const result = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM (
       SELECT FROM valija_parts.messages_default UNION ALL SELECT FROM valija_parts.bodies_default
       UNION ALL SELECT FROM valija_parts.recipients_default UNION ALL SELECT FROM valija_parts.attempts_default
       UNION ALL SELECT FROM valija_parts.events_default UNION ALL SELECT FROM valija_parts.webhook_tries_default
       LIMIT 1000) AS stray`,
  )
  return result.rows[0]?.count ?? 0
}
