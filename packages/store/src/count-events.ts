/**
 * Counts events into the statistics: per tenant and hour, and per day, what was accepted, delivered, and so on.
 *
 * The events are the truth and nothing on the way of a mail counts anything. Whoever has the turn reads each tenant's events behind
 * its cursor, in the stream's order and up to where readers of the stream may see (read-events.ts), and adds them up in the transaction
 * that moves the cursor: each event counts once, whatever is killed in between.
 *
 * A transaction with an id holds back every tenant's stream until it ends. So the turn is an advisory lock, which needs none, and all that
 * is to be written is known before the first row is: `ready`.
 *
 * An event counts in the hour in which it happened, also where that is long over: a bounce of today's counts today, though the mail is of last week.
 * The simulator's mails count nowhere.
 *
 * Measured with 400,000 events of 20 tenants, 12 hours, 10 providers and 300 tags: 12 µs of PostgreSQL's processor time for each, 47,000 a second on
 * two cores that had other work besides.
 */
import {
  hardBounced,
  latencyBucketSql,
  lowestUuidAt,
  outcomes,
  outcomesWithReason,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { inTransaction } from './database.ts'
import { nilUuid } from './read-events.ts'

/** How much older than the last count an event's id can be that was not visible then: as long as PostgreSQL may be away. */
const slackMs = 2 * 86_400_000

/** Names that an hour or a day of a tenant has at most; what comes beyond them is counted together. */
export const statsNameLimits = { domain: 200, tag: 1_000 } as const

export interface CountOptions {
  /** Nothing is done when somebody counted within this time. */
  notWithinMs: number
  /** Events that are counted in one commit, at most. */
  most: number
}

/** `busy`: somebody else counts, or just did. `asOf`: when it was last up to date before; null: never yet. */
export type CountOutcome = 'busy' | { counted: number; isUpToDate: boolean; asOf: Date | null }

/** Counts what is new, up to a bound; to be asked again until it is up to date. */
export function countEvents(pool: pg.Pool, { notWithinMs, most }: CountOptions): Promise<CountOutcome> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    const turn = await client.query<{ asOf: Date | null }>({
      name: 'take-counting',
      text: `SELECT as_of AS "asOf" FROM valija.stats_state
        WHERE counted_at NOT BETWEEN now() - make_interval(secs => $1) AND now() AND ${isOurTurn('count')}`,
      values: [notWithinMs / 1_000],
    })
    const state = turn.rows[0]
    if (state === undefined) return 'busy'
    await client.query(inOrderOfIndex)
    const { rows } = await client.query<{ counted: number }>({
      name: 'count-events',
      text: countSql,
      values: [floorOf(state.asOf), most, statsNameLimits.domain, statsNameLimits.tag],
    })
    const counted = rows[0]?.counted ?? 0
    const isUpToDate = counted < most
    await client.query({
      name: 'leave-counting',
      // Where more is left, whoever comes next need not wait.
      text: `UPDATE valija.stats_state SET as_of = CASE WHEN $1 THEN now() ELSE as_of END,
        counted_at = CASE WHEN $1 THEN now() ELSE '-infinity' END`,
      values: [isUpToDate],
    })
    return { counted, isUpToDate, asOf: state.asOf }
  })
}

/**
 * Whether it is this transaction's turn, until it ends. As a condition it costs no transaction id. What the same statement reads may be from
 * before the end of whoever had the turn last; the next statement sees all of it.
 */
export const isOurTurn = (work: 'count' | 'judge'): string =>
  `pg_try_advisory_xact_lock(hashtextextended('valija.stats ${work}', 0))`

function floorOf(asOf: Date | null): Uuid {
  return asOf === null ? nilUuid : lowestUuidAt(asOf.getTime() - slackMs)
}

/** As in read-events.ts: else PostgreSQL reads all behind a cursor and sorts it, for each page anew. */
const inOrderOfIndex = 'SET LOCAL enable_sort = off'

const quoted = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ')

/** What an event has to tell. Events from before `stream` was told have it from their message. */
const factsSql = `
    SELECT e.transaction, e.id, date_trunc('hour', e.created_at, 'UTC') AS hour,
      CASE WHEN e.type = ANY (ARRAY[${quoted(outcomes.map((outcome) => `message.${outcome}`))}]) AND NOT e.data ? 'simulated'
        THEN substr(e.type, ${'message.'.length + 1}) END AS outcome,
      coalesce(e.data ->> 'domain', '') AS domain,
      coalesce(e.data ->> 'stream', (SELECT m.stream FROM valija.messages AS m WHERE m.id = e.message_id), 'transactional') AS stream,
      e.data ->> 'provider' AS provider, split_part(e.data ->> 'email', '@', -1) AS recipient_domain,
      CASE WHEN e.type = ANY (ARRAY[${quoted(outcomesWithReason.map((outcome) => `message.${outcome}`))}])
        THEN coalesce(e.data ->> 'reason', 'other') ELSE '' END AS reason,
      e.type = 'message.bounced' AND e.data ->> 'bounce_type' = 'hard' AS is_hard,
      e.data -> 'tags' AS tags, (e.data ->> 'latency_ms')::float8 AS latency_ms
    FROM valija.events AS e`

/** Hours and the days that they are in. */
const spansSql = `CROSS JOIN LATERAL (VALUES ('hour', hour), ('day', date_trunc('day', hour, 'UTC'))) AS span (span, starts_at)`

/** Counts of the statement's own rows, with hard bounces once more. */
const withHardSql = (from: string, columns: string) => `
  SELECT tenant_id, span, starts_at, ${columns}, outcome, reason, sum(count)::bigint AS count
  FROM (
    SELECT tenant_id, hour, ${columns}, outcome, reason, count FROM ${from}
    UNION ALL SELECT tenant_id, hour, ${columns}, '${hardBounced}', '', hard FROM ${from} WHERE hard > 0
  ) AS counted ${spansSql}
  GROUP BY tenant_id, span, starts_at, ${columns}, outcome, reason`

/**
 * Rows for a table, those with names that are too many under the empty name.
 *
 * @param name the column that holds the name
 */
const rowsSql = (from: string, name: 'domain' | 'tag', others: string) => `
  SELECT f.tenant_id, f.span, f.starts_at, CASE WHEN rest.name IS NULL THEN f.${name} ELSE '' END AS ${name}, ${others}outcome, reason,
    sum(f.count)::bigint AS count
  FROM ${from} AS f LEFT JOIN rest ON rest.kind = '${name}' AND rest.tenant_id = f.tenant_id AND rest.span = f.span
    AND rest.starts_at = f.starts_at AND rest.name = f.${name}
  GROUP BY 1, 2, 3, 4, ${others}outcome, reason`

/** Adds rows of the statement's up in a table, once all of them are known. */
const addSql = (table: string, from: string, key: string) => `
  INSERT INTO valija.${table} AS kept (tenant_id, span, starts_at, ${key}, count)
  SELECT tenant_id, span, starts_at, ${key}, count FROM ${from} WHERE ${isReady}
  ON CONFLICT (tenant_id, span, starts_at, ${key}) DO UPDATE SET count = kept.count + excluded.count`

/** Looked at before any row of what it is a condition of. */
const isReady = '(SELECT is_ready FROM ready)'

/**
 * Look-ups in the statistics are LATERAL with a limit: one look at the primary key each, whatever PostgreSQL knows of tables that were empty a minute ago.
 */
const countSql = `
WITH horizon AS MATERIALIZED (SELECT valija.event_horizon() AS xmin),
place AS MATERIALIZED (
  SELECT t.id AS tenant_id, coalesce(c.transaction, '0'::xid8) AS transaction, coalesce(c.id, '${nilUuid}'::uuid) AS id
  FROM valija.tenants AS t LEFT JOIN valija.stats_cursors AS c ON c.tenant_id = t.id
  ORDER BY c.transaction NULLS FIRST, t.id
), page AS MATERIALIZED (
  SELECT place.tenant_id, e.* FROM place CROSS JOIN horizon CROSS JOIN LATERAL (${factsSql}
    WHERE e.tenant_id = place.tenant_id AND (e.transaction, e.id) > (place.transaction, place.id)
      AND e.transaction < horizon.xmin AND e.id >= $1 AND e.type <> 'message.attempted'
    ORDER BY e.transaction, e.id LIMIT $2) AS e
  LIMIT $2
), reached AS MATERIALIZED (
  SELECT DISTINCT ON (tenant_id) tenant_id, transaction, id FROM page ORDER BY tenant_id, transaction DESC, id DESC
), known AS MATERIALIZED (
  SELECT r.domain, (SELECT d.provider FROM valija.destinations AS d WHERE d.domain = r.domain ORDER BY d.seen_at DESC LIMIT 1) AS provider
  FROM (SELECT DISTINCT recipient_domain AS domain FROM page WHERE outcome IS NOT NULL AND provider IS NULL) AS r
), fact AS MATERIALIZED (
  SELECT page.tenant_id, hour, page.domain, stream, coalesce(page.provider, known.provider, '') AS provider, outcome, reason, is_hard, tags, latency_ms
  FROM page LEFT JOIN known ON page.provider IS NULL AND known.domain = page.recipient_domain
  WHERE outcome IS NOT NULL
), by_domain AS MATERIALIZED (
  SELECT tenant_id, hour, domain, stream, provider, outcome, reason, count(*) AS count, count(*) FILTER (WHERE is_hard) AS hard
  FROM fact GROUP BY tenant_id, hour, domain, stream, provider, outcome, reason
), by_tag AS MATERIALIZED (
  SELECT tenant_id, hour, tag, outcome, reason, count(*) AS count, count(*) FILTER (WHERE is_hard) AS hard
  FROM fact CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(tags) WHEN 'array' THEN tags ELSE '[]' END) AS tag
  GROUP BY tenant_id, hour, tag, outcome, reason
), domain_figure AS MATERIALIZED (${withHardSql('by_domain', 'domain, stream, provider')}
), tag_figure AS MATERIALIZED (${withHardSql('by_tag', 'tag')}
), fresh AS MATERIALIZED (
  SELECT n.tenant_id, n.span, n.starts_at, n.kind, n.name,
    coalesce(had.count, 0) + row_number() OVER (PARTITION BY n.tenant_id, n.span, n.starts_at, n.kind ORDER BY n.count DESC, n.name)
      <= CASE n.kind WHEN 'domain' THEN $3::integer ELSE $4::integer END AS fits
  FROM (
    SELECT tenant_id, span, starts_at, 'domain' AS kind, domain AS name, sum(count) AS count FROM domain_figure GROUP BY 1, 2, 3, 5
    UNION ALL SELECT tenant_id, span, starts_at, 'tag', tag, sum(count) FROM tag_figure GROUP BY 1, 2, 3, 5
  ) AS n
  LEFT JOIN LATERAL (SELECT c.count FROM valija.stats_names AS c
    WHERE c.tenant_id = n.tenant_id AND c.span = n.span AND c.starts_at = n.starts_at AND c.kind = n.kind LIMIT 1) AS had ON true
  LEFT JOIN LATERAL (SELECT true AS is_known FROM valija.stats AS s
    WHERE n.kind = 'domain' AND s.tenant_id = n.tenant_id AND s.span = n.span AND s.starts_at = n.starts_at AND s.domain = n.name LIMIT 1) AS d ON true
  LEFT JOIN LATERAL (SELECT true AS is_known FROM valija.tag_stats AS s
    WHERE n.kind = 'tag' AND s.tenant_id = n.tenant_id AND s.span = n.span AND s.starts_at = n.starts_at AND s.tag = n.name LIMIT 1) AS t ON true
  WHERE d.is_known IS NULL AND t.is_known IS NULL
), rest AS MATERIALIZED (
  SELECT * FROM fresh WHERE NOT fits
), new_name AS MATERIALIZED (
  SELECT tenant_id, span, starts_at, kind, count(*)::integer AS count FROM fresh WHERE fits GROUP BY tenant_id, span, starts_at, kind
), domain_row AS MATERIALIZED (${rowsSql('domain_figure', 'domain', 'stream, provider, ')}
), tag_row AS MATERIALIZED (${rowsSql('tag_figure', 'tag', '')}
), latency_row AS MATERIALIZED (
  SELECT tenant_id, span, starts_at, stream, provider, ${latencyBucketSql('latency_ms')} AS bucket, count(*) AS count
  FROM fact ${spansSql} WHERE latency_ms IS NOT NULL
  GROUP BY tenant_id, span, starts_at, stream, provider, bucket
), ready AS MATERIALIZED (
  SELECT count(*) >= 0 AS is_ready FROM (${['reached', 'new_name', 'domain_row', 'tag_row', 'latency_row'].map((rows) => `SELECT FROM ${rows}`).join(' UNION ALL ')}) AS rows
), cursor AS (
  INSERT INTO valija.stats_cursors (tenant_id, transaction, id, moved_at)
  SELECT tenant_id, transaction, id, now() FROM reached WHERE ${isReady}
  ON CONFLICT (tenant_id) DO UPDATE SET transaction = excluded.transaction, id = excluded.id, moved_at = excluded.moved_at
), names AS (${addSql('stats_names', 'new_name', 'kind')}
), stats AS (${addSql('stats', 'domain_row', 'domain, stream, provider, outcome, reason')}
), tag_stats AS (${addSql('tag_stats', 'tag_row', 'tag, outcome, reason')}
), latency_stats AS (${addSql('latency_stats', 'latency_row', 'stream, provider, bucket')}
)
SELECT count(*)::int AS counted FROM page`

/** For how long hours and days are kept, in days. */
export const statsKeptDays = { hour: 35, day: 400 } as const

/** Forgets hours and days beyond that, some thousands of rows at once. Returns how many went. */
export async function forgetOldStats(pool: pg.Pool): Promise<number> {
  let gone = 0
  for (const table of ['stats', 'tag_stats', 'latency_stats', 'stats_names']) {
    for (const [span, days] of Object.entries(statsKeptDays)) {
      const { rowCount } = await pool.query(
        `DELETE FROM valija.${table} WHERE ctid = ANY (ARRAY(
           SELECT ctid FROM valija.${table} WHERE span = $1 AND starts_at < now() - make_interval(days => $2) LIMIT 5000))`,
        [span, days],
      )
      gone += rowCount ?? 0
    }
  }
  return gone
}
