/**
 * What a database needs from time to time, whoever sends.
 */
import type pg from 'pg'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** Partitions are made this many days ahead: the installation can be without a worker for that long. */
export const partitionDaysAhead = 14

const contentTables = ['bodies']
const historyTables = ['messages', 'recipients', 'attempts', 'events', 'webhook_tries']
/** The tables that are cut into one partition per day. */
export const partitionedTables: readonly string[] = [...contentTables, ...historyTables]

/**
 * Makes missing partitions, table by table.
 *
 * @returns how many were made
 * @throws what PostgreSQL throws; 55P03 when somebody reads a table for long: what was made before stays, the rest is for later
 */
export async function ensurePartitions(
  client: Pick<pg.ClientBase, 'query'>,
  daysAhead = partitionDaysAhead,
): Promise<number> {
  let made = 0
  for (const table of partitionedTables) {
    const result = await client.query<{ made: number }>('SELECT valija.ensure_partitions($1, $2) AS made', [
      table,
      daysAhead,
    ])
    made += result.rows[0]?.made ?? 0
  }
  return made
}

/**
 * Drops the oldest day that is beyond the retention and holds nothing live (`VALIJA_RETENTION_CONTENT`,
 * `VALIJA_RETENTION_EVENTS`, in milliseconds), of each table.
 *
 * @returns how many partitions were dropped: at most one per table, so ask until it is none
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
    for (const table of tables) {
      const result = await pool.query<{ isDropped: boolean }>(
        atLeisure('SELECT valija.drop_partition($1, now() - make_interval(secs => $2)) AS "isDropped"', [
          table,
          keptMs / 1000,
        ]),
      )
      if (result.rows[0]?.isDropped) dropped += 1
    }
  }
  return dropped
}

/**
 * Forgets what disabled endpoints were not told, and what enabled ones were told in vain, beyond the retention, some thousands at
 * once: for their sake events would be kept for ever.
 */
export async function forgetUntoldEvents(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    atLeisure(
      `DELETE FROM valija.webhook_outbox WHERE (webhook_id, event_id) IN (
       SELECT o.webhook_id, o.event_id FROM valija.webhooks AS w JOIN valija.webhook_outbox AS o ON o.webhook_id = w.id
       WHERE (w.status = 'disabled' OR o.tries > 0) AND o.event_id < valija.lowest_uuid(now() - make_interval(secs => $1)) LIMIT 5000)`,
      [keptMs / 1000],
    ),
  )
  return result.rowCount ?? 0
}

/** The inbox keeps mails as long as bodies are kept. Their ids hold the time at which they came. */
export async function forgetOldInboxMails(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    atLeisure(
      `DELETE FROM valija.inbox WHERE id = ANY (ARRAY(
       SELECT id FROM valija.inbox WHERE id < valija.lowest_uuid(now() - make_interval(secs => $1)) ORDER BY id LIMIT 1000))`,
      [keptMs / 1000],
    ),
  )
  return result.rowCount ?? 0
}

/** Forgets idempotency keys whose time is over, some thousands at once, so that nothing waits for it. */
export async function forgetOldKeys(pool: pg.Pool): Promise<number> {
  const result = await pool.query(
    atLeisure(
      `DELETE FROM valija.idempotency_keys WHERE (tenant_id, key) IN (
       SELECT tenant_id, key FROM valija.idempotency_keys WHERE expires_at < now() ORDER BY expires_at LIMIT 5000)`,
    ),
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

/** Nobody waits for it. */
function atLeisure(text: string, values: unknown[] = []): pg.QueryConfig {
  return { text, values, ...answerWithin(longQueryTimeoutMs) }
}
