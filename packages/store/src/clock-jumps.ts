/**
 * What a set clock does to times that stand in the database (DESIGN 4.25). Set forward, leases run out that are held; the sweep
 * waits for their renewal. Set back, times lie ahead that could not: they are put right here, or a lease of a dead
 * worker, say, would hold as long as the clock was set back.
 */
import { usageLimitNames, usageLimits, windowS } from '@valija/core'
import type pg from 'pg'
import { dueNowSql } from './due-now.ts'
import { leaseMs } from './lease-deliveries.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** PostgreSQL's clock, in milliseconds since 1970. */
export async function readDatabaseNow(pool: pg.Pool): Promise<number> {
  const result = await pool.query<{ now: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  )
  return result.rows[0]?.now ?? 0
}

const nowMsSql = '(extract(epoch FROM now()) * 1000)::float8'
const leaseSql = `interval '${leaseMs / 1_000} seconds'`

const pauseMsSql = `greatest(0, (d.pace ->> 'pausedUntilMs')::float8 - greatest((d.pace ->> 'incidentMs')::float8, ${nowMsSql}))`

/** What is held in the given state for longer than it can be, from now on as long as it can be. A row that is busy is met by the next round. */
const shorten = (table: string, key: string, condition: string, change: string): string => `
WITH locked AS MATERIALIZED (
  SELECT ${key} FROM ${table} WHERE ${condition} ORDER BY ${key} FOR UPDATE SKIP LOCKED
)
UPDATE ${table} AS d SET ${change} FROM locked WHERE (${key
  .split(', ')
  .map((column) => `d.${column}`)
  .join(', ')}) = (${key
  .split(', ')
  .map((column) => `locked.${column}`)
  .join(', ')})`

/** When a limit's window would end that began now: an expression of its row. */
const windowEndSql = `CASE name ${usageLimitNames
  .map((name) => {
    const { window } = usageLimits[name]
    const end =
      window === 'day' || window === 'month'
        ? `(date_trunc('${window}', now() AT TIME ZONE 'UTC') + interval '1 ${window}') AT TIME ZONE 'UTC'`
        : `now() + interval '${windowS[window]} seconds'`
    return `WHEN '${name}' THEN ${end}`
  })
  .join(' ')} END`

/** The lowest id of what was made within the last seconds, or at a time that is still to come. */
const fromNowOnSql = `valija.lowest_uuid(now() - interval '4 seconds')`

/** The same for what endpoints are to be told, in the order of an index that has no row too many: behind it may be millions that wait. */
const shortenOutbox = (condition: string, order: string, change: string): string => `
WITH ahead AS MATERIALIZED (
  SELECT late.place FROM valija.webhooks AS endpoint CROSS JOIN LATERAL (
    SELECT ctid AS place FROM valija.webhook_outbox WHERE webhook_id = endpoint.id AND ${condition}
    ORDER BY ${order} FOR UPDATE SKIP LOCKED) AS late
)
UPDATE valija.webhook_outbox SET ${change} WHERE ctid = ANY (ARRAY(SELECT place FROM ahead))`

/**
 * Shortens leases to the full time from now, which is never less than what their holders count on; counts hints as given now;
 * lets mails and events go that were to go at once when they were written, at a time that is still to come; lets sites have their next
 * mail, and their pauses from now on; lets limits of usage begin anew.
 *
 * Retries and `send_at` stay: they are times that were told, and wait for the clock to get there.
 */
const repairs = [
  shorten(
    'valija.deliveries',
    'recipient_id',
    `state = 'leased' AND leased_until > now() + ${leaseSql} + interval '1 second'`,
    `leased_until = now() + ${leaseSql}`,
  ),
  shorten(
    'valija.deliveries',
    'recipient_id',
    `state = 'admitted' AND admitted_at > now() + interval '1 second'`,
    'admitted_at = now()',
  ),
  // An id has the time at which its mail was accepted. In any state: what is admitted or leased now may wait again later.
  shorten(
    'valija.deliveries',
    'recipient_id',
    // The last condition follows from the two before it, and lets the primary key find the few rows of which that can be true.
    `retry_steps = 0 AND due_at > now() + interval '1 second'
     AND recipient_id >= valija.lowest_uuid(due_at - interval '5 seconds') AND recipient_id >= ${fromNowOnSql}`,
    `due_at = ${dueNowSql}`,
  ),
  shorten(
    'valija.shaping_permits',
    'scope_key, worker_id',
    `valid_until > now() + interval '1 minute'`,
    `valid_until = now() + ${leaseSql}`,
  ),
  // What was used by a clock that was ahead is forgotten with its window, or a limit stays exhausted until that is over.
  shorten(
    'valija.usage',
    'owner_id, name, email_key',
    `ends_at > ${windowEndSql} + interval '1 second'`,
    'ends_at = now()',
  ),
  // The next mail of a site is never farther ahead than the spacing of its rate.
  shorten(
    'valija.shaping_rates',
    'scope_key',
    `next_slot > now() + interval '1 second' * (SELECT greatest(60, 1.2 / nullif(min((limits ->> 'mailsPerSecond')::float8), 0))
       FROM valija.shaping_sites WHERE key = scope_key)`,
    'next_slot = now()',
  ),
  // A pause lasts as long as it was to; what the site did in minutes that are still to come is forgotten.
  shorten(
    'valija.shaping_sites',
    'key',
    `greatest((pace ->> 'incidentMs')::float8, (pace ->> 'steppedMs')::float8) > ${nowMsSql} + 1000`,
    `pace = d.pace || jsonb_build_object('incidentMs', least((d.pace ->> 'incidentMs')::float8, ${nowMsSql}), 'steppedMs', least((d.pace ->> 'steppedMs')::float8, ${nowMsSql}),
       'incidentsMs', '[]'::jsonb, 'hits', '{}'::jsonb, 'pausedUntilMs', ${nowMsSql} + ${pauseMsSql}),
     paused_until = CASE WHEN ${pauseMsSql} > 0 THEN now() + ${pauseMsSql} * interval '1 millisecond' END, updated_at = now()`,
  ),
  shortenOutbox(
    `due_at > now() + interval '2 minutes' AND leased_until IS NOT NULL`,
    'leased_until',
    `leased_until = ${dueNowSql}, due_at = ${dueNowSql}`,
  ),
  shortenOutbox(
    `due_at > now() + interval '1 second' AND tries = 0 AND leased_until IS NULL
     AND event_id >= valija.lowest_uuid(due_at - interval '5 seconds') AND event_id >= ${fromNowOnSql}`,
    'event_id',
    `due_at = ${dueNowSql}`,
  ),
]

/** Digests of messages go on from the latest: one that is ahead of the time would keep all that is accepted until then out of searches. */
const forgetDigestsAhead = `
DELETE FROM valija.message_digests AS digest USING (
  SELECT ahead.tenant_id, ahead.last_id FROM valija.tenants AS tenant CROSS JOIN LATERAL (
    SELECT tenant_id, last_id FROM valija.message_digests WHERE tenant_id = tenant.id AND last_id >= ${fromNowOnSql}) AS ahead
) AS ahead WHERE digest.tenant_id = ahead.tenant_id AND digest.last_id = ahead.last_id`

/** Puts right what a clock that was set back left in the future. Harmless at any time; returns how many rows. */
export async function repairFutureTimes(pool: pg.Pool): Promise<number> {
  let count = 0
  for (const text of [...repairs, forgetDigestsAhead]) {
    const result = await pool.query({ text, ...answerWithin(longQueryTimeoutMs) })
    count += result.rowCount ?? 0
  }
  return count
}
