/**
 * Digests of messages (packages/core/src/message-digest.ts): made by workers of what was accepted some minutes ago, and asked by searches.
 *
 * A tenant's digests follow each other in the order of ids, from its oldest message on and without gaps. So a message must not be
 * digested over: only what is older than any transaction that may still bring an older one is taken. What a clock that was set back leaves ahead of
 * its time is made anew.
 */
import {
  type DigestedMessage,
  type DigestedSearch,
  digestedMessages,
  digestMessages,
  digestPlaces,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'

/** Of one step: few rows for one statement. */
export const digestsOfStep = 4
const stepMessages = digestsOfStep * digestedMessages
/**
 * How long before its transaction a message's id can be made: a request is answered, or its COMMIT sent, within 20 s, and processes' readings of
 * PostgreSQL's clock are less than a minute apart.
 */
const settledMs = 90_000

/** What is older than this can be digested; a parameter of milliseconds is the pause. */
const settledSql = (pauseMs: string) =>
  `least(now(), valija.oldest_writer()) - ${pauseMs} * interval '1 millisecond'`

/**
 * The tenants that have something new to be digested, though it may not be enough for a digest.
 *
 * @param from where the look before ended, as this gave it; null: all that have messages
 */
export async function findTenantsToDigest(
  pool: pg.Pool,
  from: Date | null,
  pauseMs = settledMs,
): Promise<{ tenantIds: Uuid[]; until: Date }> {
  // A scalar subquery, which PostgreSQL never turns into a join over all that is new.
  const { rows } = await pool.query<{ tenantIds: Uuid[]; until: Date }>({
    name: 'find-tenants-to-digest',
    text: `WITH settled AS MATERIALIZED (SELECT ${settledSql('$2::float8')} AS until)
      SELECT until, ARRAY(SELECT id FROM valija.tenants AS tenant WHERE (
        SELECT true FROM valija.messages AS m WHERE m.tenant_id = tenant.id
          AND m.id >= valija.lowest_uuid(coalesce($1::timestamptz, 'epoch')) AND m.id < valija.lowest_uuid(until) LIMIT 1)) AS "tenantIds"
      FROM settled`,
    values: [from, pauseMs],
  })
  return rows[0] ?? { tenantIds: [], until: new Date(0) }
}

/**
 * Makes a tenant's next digests, some at most. Nobody else makes them meanwhile.
 *
 * @param rest is waited for between two digests, each of which takes some milliseconds of CPU
 * @returns how many; `digestsOfStep`: there may be more to do
 */
export async function digestNewMessages(
  database: Database,
  tenantId: Uuid,
  rest: () => Promise<unknown> = async () => undefined,
  pauseMs = settledMs,
): Promise<number> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<DigestedMessage & { id: Uuid }>({
      text: `WITH turn AS MATERIALIZED (
          SELECT pg_try_advisory_xact_lock(hashtextextended('valija.message_digests ' || $1::uuid, 0)) AS is_ours
        )
        SELECT id, from_email AS "fromEmail", from_domain AS "fromDomain", stream, subject, tags, metadata
        FROM valija.messages
        WHERE tenant_id = $1 AND id < valija.lowest_uuid(${settledSql('$2::float8')}) AND (SELECT is_ours FROM turn)
          AND id > coalesce((SELECT last_id FROM valija.message_digests WHERE tenant_id = $1 ORDER BY last_id DESC LIMIT 1), valija.lowest_uuid('epoch'))
        ORDER BY id LIMIT $3`,
      values: [tenantId, pauseMs, stepMessages],
    })
    for (let start = 0; start + digestedMessages <= rows.length; start += digestedMessages) {
      const messages = rows.slice(start, start + digestedMessages)
      const { terms, subjects } = digestMessages(messages)
      await client.query({
        name: 'insert-message-digest',
        text: `INSERT INTO valija.message_digests (tenant_id, first_id, last_id, terms, subjects) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT DO NOTHING`,
        values: [tenantId, messages[0]?.id, messages.at(-1)?.id, terms, subjects],
      })
      await rest()
    }
    return Math.floor(rows.length / digestedMessages)
  })
}

/**
 * Makes the digests of messages anew after what they tell was erased: their bits would still say that it was there.
 *
 * @param messageIds by rising id
 */
export async function digestAnew(
  client: pg.ClientBase,
  tenantId: Uuid,
  messageIds: readonly Uuid[],
): Promise<void> {
  // As whoever makes new ones: one at a time for a tenant.
  await client.query(
    `SELECT pg_advisory_xact_lock(hashtextextended('valija.message_digests ' || $1::uuid, 0))`,
    [tenantId],
  )
  const { rows: digests } = await client.query<{ firstId: Uuid; lastId: Uuid }>(
    `SELECT DISTINCT found.first_id AS "firstId", found.last_id AS "lastId" FROM unnest($2::uuid[]) AS m (id)
     CROSS JOIN LATERAL (SELECT first_id, last_id FROM valija.message_digests
       WHERE tenant_id = $1 AND last_id >= m.id ORDER BY last_id LIMIT 1) AS found
     WHERE found.first_id <= m.id`,
    [tenantId, messageIds],
  )
  for (const { firstId, lastId } of digests) {
    const { rows } = await client.query<DigestedMessage>(
      `SELECT from_email AS "fromEmail", from_domain AS "fromDomain", stream, subject, tags, metadata
       FROM valija.messages WHERE tenant_id = $1 AND id BETWEEN $2::uuid AND $3::uuid`,
      [tenantId, firstId, lastId],
    )
    const { terms, subjects } = digestMessages(rows)
    await client.query('DELETE FROM valija.message_digests WHERE tenant_id = $1 AND last_id = $2', [
      tenantId,
      lastId,
    ])
    await client.query(
      'INSERT INTO valija.message_digests (tenant_id, first_id, last_id, terms, subjects) VALUES ($1, $2, $3, $4, $5)',
      [tenantId, firstId, lastId, terms, subjects],
    )
  }
}

/** Forgets digests of messages that are older than this and gone with their days, some at once. */
export async function forgetOldDigests(pool: pg.Pool, keptMs: number): Promise<number> {
  const { rowCount } = await pool.query(
    `DELETE FROM valija.message_digests WHERE (tenant_id, last_id) IN (
       SELECT old.tenant_id, old.last_id FROM valija.tenants AS tenant CROSS JOIN LATERAL (
         SELECT tenant_id, last_id FROM valija.message_digests
         WHERE tenant_id = tenant.id AND last_id < valija.lowest_uuid(now() - make_interval(secs => $1)) LIMIT 1000) AS old LIMIT 1000)`,
    [keptMs / 1000],
  )
  return rowCount ?? 0
}

/** Ids from `from` on and before `before`; null: no bound. */
export interface IdRange {
  from: Uuid | null
  before: Uuid | null
}

/** Digests that one look gives at most. */
const rangesAtMost = 100

export interface SearchRanges {
  /** Newest first. */
  ranges: IdRange[]
  /** Where to look on, when there is more; null: that is all. */
  next: Uuid | null
  /** How many digests did not rule out what they speak for; null: there are none at all. */
  digests: number | null
}

/**
 * Where messages can be that match, newest first: what digests do not rule out, and what has none. Null when digests say nothing of such a search.
 *
 * @param within only there
 */
export async function rangesToSearch(
  client: pg.ClientBase,
  tenantId: Uuid,
  search: DigestedSearch,
  within: IdRange,
): Promise<SearchRanges | null> {
  const places = digestPlaces(search)
  if (places.terms.length + places.subjects.length === 0) return null
  const values: unknown[] = [tenantId]
  const add = (value: unknown) => `$${values.push(value)}`
  const conditions = [
    ...(within.before === null ? [] : [`first_id < ${add(within.before)}`]),
    ...(within.from === null ? [] : [`last_id >= ${add(within.from)}`]),
    ...places.terms.map((place) => `get_bit(terms, ${add(place)}) = 1`),
    ...places.subjects.map((place) => `get_bit(subjects, ${add(place)}) = 1`),
  ]
  const { rows } = await client.query<{
    oldest: Uuid | null
    newest: Uuid | null
    previous: Uuid | null
    last: Uuid | null
  }>(
    `SELECT (SELECT first_id FROM valija.message_digests WHERE tenant_id = $1 ORDER BY last_id LIMIT 1) AS oldest,
       (SELECT last_id FROM valija.message_digests WHERE tenant_id = $1 ORDER BY last_id DESC LIMIT 1) AS newest,
       found.last_id AS last, (SELECT last_id FROM valija.message_digests
         WHERE tenant_id = $1 AND last_id < found.last_id ORDER BY last_id DESC LIMIT 1) AS previous
     FROM (SELECT) AS once LEFT JOIN LATERAL (
       SELECT last_id FROM valija.message_digests WHERE tenant_id = $1 AND ${conditions.join(' AND ')}
       ORDER BY last_id DESC LIMIT ${add(rangesAtMost)}) AS found ON true
     ORDER BY found.last_id DESC`,
    values,
  )
  const [head] = rows
  if (!head?.oldest || !head.newest) return { ranges: [within], next: null, digests: null }
  // A digest speaks for all messages behind the one before it.
  const found = rows.flatMap(({ previous, last }): IdRange[] =>
    last ? [{ from: previous && idAfter(previous), before: idAfter(last) }] : [],
  )
  const isAll = found.length < rangesAtMost
  const all = [
    { from: idAfter(head.newest), before: null },
    ...found,
    ...(isAll ? [{ from: null, before: head.oldest }] : []),
  ]
  const ranges = joined(all).flatMap((range) => cut(range, within))
  return { ranges, next: isAll ? null : (found.at(-1)?.from ?? null), digests: found.length }
}

/** Neighbours as one, newest first. */
function joined(ranges: readonly IdRange[]): IdRange[] {
  const result: IdRange[] = []
  for (const range of ranges) {
    const last = result.at(-1)
    if (last && (last.from === null || last.from === range.before)) last.from = range.from
    else result.push({ ...range })
  }
  return result
}

/** The id that follows: a UUID is a number of 128 bits. */
export function idAfter(id: Uuid): Uuid {
  const next = (BigInt(`0x${id.replaceAll('-', '')}`) + 1n).toString(16).padStart(32, '0')
  return next.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** What two ranges have in common, if anything. Ids are compared as texts: lower-case digits, all of one length. */
function cut(range: IdRange, within: IdRange): IdRange[] {
  const from = !within.from || (range.from && range.from > within.from) ? range.from : within.from
  const before =
    !within.before || (range.before && range.before < within.before) ? range.before : within.before
  return from && before && from >= before ? [] : [{ from, before }]
}
