/**
 * Searching a tenant's messages, newest first (GET /messages).
 *
 * A search goes on in looks of some thousand rows until it has a page, or has seen all; after half a second the page ends early, and its
 * cursor goes on from there. The look's way is chosen by what is looked for:
 *
 *   - an address, a reason, an end that is none of delivery: by the index that has it; of several the one with the fewest
 *   - a live status, while not much waits: through what waits
 *   - anything else: through the messages, less those that digests rule out (message-digests.ts)
 *
 * So what is rare is found by an index or a digest, and what is frequent by the first messages that are looked at. What stays slow is
 * what is frequent in each of its conditions and rare in all of them together, and a live status that few have of very many who wait.
 */
import {
  lowestUuidAt,
  type MessageStatus,
  messageStatus,
  recipientStates,
  type Stream,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { type Database, readAsTenant } from './database.ts'
import { withContents } from './message-content.ts'
import { type IdRange, idAfter, rangesToSearch, type SearchRanges } from './message-digests.ts'
import {
  leaseSql,
  type MessageRow,
  messageColumns,
  recipientsWithinMs,
  type StoredMessage,
  shownBitSql,
  statesOf,
} from './read-messages.ts'
import {
  anyOf,
  candidatesBy,
  highestUuid,
  type IndexedSearch,
  lookRows,
  lookRowsAtMost,
  type SearchDesk,
  type Way,
  waysToCandidates,
} from './search-candidates.ts'

/** What to look for; absent parts are not looked at. Addresses and domains are in canonical form. */
export interface MessageSearch extends IndexedSearch {
  fromKey?: string
  /** A part of the subject; case does not matter. */
  subject?: string
  tag?: string
  metadata?: Record<string, string>
  /** The sender's. */
  domain?: string
  stream?: Stream
  /** Accepted at or after. */
  afterMs?: number
  /** Accepted before. */
  beforeMs?: number
}

export interface FoundMessages {
  rows: MessageRow[]
  /** Only older messages than this one are still to be looked at; null: all were. */
  next: Uuid | null
}

/** After this a page ends early. */
const patienceMs = 500
/** A message's id has the time at which it was accepted, but for the clocks of two processes. */
const clockSlackMs = 60_000

/**
 * Everything is in memory that is looked at again and again, and a row is where its index says: without this PostgreSQL would rather read days
 * from one end to the other.
 */
const settings = 'SET LOCAL random_page_cost = 1'

/**
 * Finds messages, newest first.
 *
 * @param page.before only older ones than this message; null for the first page
 * @param timeMs after which the page ends early
 */
export async function findMessages(
  database: Database,
  tenantId: Uuid,
  search: MessageSearch,
  page: { before: Uuid | null; limit: number },
  timeMs = patienceMs,
): Promise<FoundMessages> {
  const deadline = performance.now() + timeMs
  const read = async (client: pg.PoolClient): Promise<FoundMessages> => {
    const { rows, next } = await lookForPage(client)
    return { rows: await withContents(client, tenantId, rows), next }
  }
  const lookForPage = async (client: pg.PoolClient): Promise<Seen> => {
    const rows: SeenMessage[] = []
    const look = lookFor({ client, tenantId, search })
    let within = bounds(search, page.before)
    for (;;) {
      const seen = await look(within, page.limit + 1 - rows.length)
      rows.push(...seen.rows)
      const last = rows[page.limit - 1]
      if (last && rows.length > page.limit) return { rows: rows.slice(0, page.limit), next: last.id }
      if (seen.next === null || performance.now() > deadline) return { rows, next: seen.next }
      within = { ...within, before: seen.next }
    }
  }
  return readAsTenant(database, tenantId, read, settings)
}

function bounds({ afterMs, beforeMs }: MessageSearch, before: Uuid | null): IdRange {
  const end = beforeMs === undefined ? null : lowestUuidAt(beforeMs + clockSlackMs)
  return {
    from: afterMs === undefined ? null : lowestUuidAt(Math.max(0, afterMs - clockSlackMs)),
    before: before === null || (end !== null && end < before) ? end : before,
  }
}

interface Desk extends SearchDesk {
  search: MessageSearch
}

type SeenMessage = StoredMessage & Pick<MessageRow, 'status' | 'sizeBytes'>

interface Seen extends Pick<FoundMessages, 'next'> {
  rows: SeenMessage[]
}

/** @returns what was found, and where to look on: before that id; null when all was seen */
type Look = (within: IdRange, limit: number) => Promise<Seen>

function lookFor(desk: Desk): Look {
  const ways = waysToCandidates(desk)
  return ways.length > 0 ? lookAtCandidates(desk, ways) : lookAtMessages(desk)
}

/** Unless digests leave little to be looked at, or there are too many candidates. */
function lookAtCandidates(desk: Desk, ways: readonly Way[]): Look {
  let other: Look | null = null
  let chosen: Way | null = null
  let rows = lookRows
  return async (within, limit) => {
    if (chosen === null && other === null) other = await lookAtFewMessages(desk, within)
    if (other !== null) return other(within, limit)
    const found = await candidatesBy(chosen === null ? ways : [chosen], within, rows)
    rows = Math.min(2 * rows, lookRowsAtMost)
    if (found === null) {
      other = lookAtMessages(desk)
      return other(within, limit)
    }
    chosen = found.way
    const matches = await matchingOf(desk, { ...found.candidates, by: chosen.by }, within, limit)
    return { rows: matches, next: found.candidates.from }
  }
}

/**
 * The newest of them are looked at first, for often they are enough: PostgreSQL plans for each of those it is asked for, day by day, which takes longer than
 * to look at them.
 */
async function matchingOf(
  desk: Desk,
  { ids, by }: { ids: readonly Uuid[]; by: Way['by'] },
  within: IdRange,
  limit: number,
): Promise<SeenMessage[]> {
  const rows: SeenMessage[] = []
  let taken = 0
  for (let some = firstCandidates; taken < ids.length && rows.length < limit; some *= 8) {
    const slice = ids.slice(taken, taken + some)
    const of = { ids: slice, by }
    rows.push(...(await matching(desk, of, spanOf(slice, within), limit - rows.length)))
    taken += some
  }
  return rows
}

/** Where digests leave so few messages that they are looked at rather than candidates; null: they do not. */
async function lookAtFewMessages(desk: Desk, within: IdRange): Promise<Look | null> {
  const known = await rangesToSearch(desk.client, desk.tenantId, desk.search, within)
  const digests = known?.digests ?? null
  return known?.next === null && digests !== null && digests <= fewDigests
    ? lookAtMessages(desk, known)
    : null
}

function spanOf(ids: readonly Uuid[], within: IdRange): IdRange {
  const [newest, oldest] = [ids[0], ids.at(-1)]
  return newest && oldest ? { from: oldest, before: idAfter(newest) } : within
}

/** About twice a page of the usual size. */
const firstCandidates = 64
/** So many digests' messages are looked at rather than candidates. */
const fewDigests = 10

/** Through the messages themselves, range by range of those that are not ruled out. */
function lookAtMessages(desk: Desk, first?: Pick<SearchRanges, 'ranges' | 'next'>): Look {
  const { client, tenantId, search } = desk
  let known = first ?? null
  let lookedAt = lookRows
  return async (within, limit) => {
    known ??= (await rangesToSearch(client, tenantId, search, within)) ?? { ranges: [within], next: null }
    const [range, ...further] = known.ranges
    if (range === undefined) {
      const { next } = known
      known = null
      return { rows: [], next }
    }
    const rows = await matching(desk, { newest: lookedAt }, range, limit)
    if (rows.length === limit) return { rows, next: null }
    const end = await endOfLook(desk, range, lookedAt)
    lookedAt = Math.min(2 * lookedAt, lookRowsAtMost)
    known = { ...known, ranges: end === null ? further : [{ ...range, before: end }, ...further] }
    return { rows, next: end ?? further[0]?.before ?? known.next }
  }
}

/** The oldest message of a look that does not reach the end of its range; null: it does. */
async function endOfLook(
  { client, tenantId }: Desk,
  { from, before }: IdRange,
  lookedAt: number,
): Promise<Uuid | null> {
  const { rows } = await client.query<{ id: Uuid }>(
    `SELECT id FROM valija.messages WHERE tenant_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC OFFSET $4 LIMIT 1`,
    [tenantId, from ?? lowestUuidAt(0), before ?? highestUuid, lookedAt - 1],
  )
  return rows[0]?.id ?? null
}

/**
 * Those that match, newest first.
 *
 * @param of these, which were found by one of the conditions; or so many, the newest of the range
 */
async function matching(
  { client, tenantId, search }: Desk,
  of: { ids: readonly Uuid[]; by: Way['by'] } | { newest: number },
  within: IdRange,
  limit: number,
): Promise<SeenMessage[]> {
  const values: unknown[] = [tenantId]
  const add = (value: unknown) => `$${values.push(value)}`
  const places = ['tenant_id = $1']
  if ('ids' in of) places.push(`id = ${anyOf(add(of.ids))}`)
  if (within.from !== null) places.push(`id >= ${add(within.from)}`)
  if (within.before !== null) places.push(`id < ${add(within.before)}`)
  const isRecipientOfM = recipientOf(within, add)
  const result = await client.query<StoredMessage & { states: number; sizeBytes: number | null }>(
    `SELECT ${messageColumns}, fold.states, fold."sizeBytes"
  FROM (
    SELECT * FROM valija.messages WHERE ${places.join(' AND ')} ORDER BY id DESC LIMIT ${add('ids' in of ? of.ids.length : of.newest)}
  ) AS m CROSS JOIN LATERAL (
    SELECT bit_or(${shownBitSql}) AS states, max(r.size_bytes) AS "sizeBytes"
    FROM valija.recipients AS r ${leaseSql}
    WHERE ${isRecipientOfM}
  ) AS fold
  WHERE ${conditionsOf(search, { foundBy: 'ids' in of ? of.by : null, isRecipientOfM, add }).join(' AND ')}
  ORDER BY m.id DESC LIMIT ${add(limit)}`,
    values,
  )
  return result.rows.map(({ states, ...row }) => ({ ...row, status: messageStatus(statesOf(states)) }))
}

/** With bounds besides that PostgreSQL knows before it looks at a message: it plans for the days between them, and for no other. */
function recipientOf({ from, before }: IdRange, add: (value: unknown) => string): string {
  const bounds = [
    ...(from === null ? [] : [`r.id > ${add(from)}`]),
    ...(before === null
      ? []
      : [`r.id < ${add(lowestUuidAt(uuidTimeMs(before) + clockSlackMs + recipientsWithinMs))}`]),
  ]
  return [
    'r.tenant_id = $1 AND r.message_id = m.id AND r.id > m.id',
    `r.id < valija.lowest_uuid(m.created_at + interval '${recipientsWithinMs} milliseconds')`,
    ...bounds,
  ].join(' AND ')
}

/** @param foundBy the condition that brought them */
function conditionsOf(
  search: MessageSearch,
  {
    foundBy,
    isRecipientOfM,
    add,
  }: { foundBy: Way['by'] | null; isRecipientOfM: string; add: (value: unknown) => string },
): string[] {
  const conditions: string[] = ['true']
  const where = (condition: (parameter: string) => string, value: unknown) => {
    if (value !== undefined) conditions.push(condition(add(value)))
  }
  const hasRecipient = (condition: string) =>
    `EXISTS (SELECT FROM valija.recipients AS r WHERE ${isRecipientOfM} AND ${condition})`
  where((at) => `m.stream = ${at}`, search.stream)
  where((at) => `m.from_domain = ${at}`, search.domain)
  where((at) => `lower(m.from_email) = lower(${at})`, search.fromKey)
  where((at) => `strpos(lower(m.subject), lower(${at})) > 0`, search.subject)
  where((at) => `${at} = ANY (m.tags)`, search.tag)
  where((at) => `m.metadata @> ${at}::jsonb`, search.metadata && JSON.stringify(search.metadata))
  where((at) => `m.created_at >= ${at}`, search.afterMs === undefined ? undefined : new Date(search.afterMs))
  where((at) => `m.created_at < ${at}`, search.beforeMs === undefined ? undefined : new Date(search.beforeMs))
  where((at) => hasRecipient(`r.email_key = ${at}`), foundBy === 'toKey' ? undefined : search.toKey)
  where((at) => hasRecipient(`r.reason = ${at}`), foundBy === 'reason' ? undefined : search.reason)
  where((at) => `fold.states = ANY (${at})`, search.status && setsOfStatus(search.status))
  return conditions
}

/** The sets of states that make a message's status the given one. */
function setsOfStatus(status: MessageStatus): number[] {
  const sets = Array.from({ length: (1 << recipientStates.length) - 1 }, (_, index) => index + 1)
  return sets.filter((bits) => messageStatus(statesOf(bits)) === status)
}
