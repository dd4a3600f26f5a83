/**
 * Searching a tenant's messages, newest first (GET /messages).
 *
 * A search goes on in looks of some thousand rows until it has a page, or has seen all; after half a second the page ends early, and its
 * cursor goes on from there. The look's way is chosen by what is looked for:
 *
 *   - an address, a reason, an end that is none of delivery: through the index of recipients that has it
 *   - a live status, while not much waits: through what waits
 *   - anything else: through the messages, less those that digests rule out (message-digests.ts)
 *
 * So what is rare is found by an index or a digest, and what is frequent by the first messages that are looked at. What stays slow is
 * what is frequent in each of its conditions and rare in all of them together.
 */
import {
  isEnd,
  lowestUuidAt,
  type MessageStatus,
  messageStatus,
  type RecipientState,
  recipientStates,
  type Stream,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { isInFlight } from './admission.ts'
import { type Database, readAsTenant } from './database.ts'
import { type IdRange, rangesToSearch } from './message-digests.ts'
import {
  leaseSql,
  type MessageRow,
  messageColumns,
  recipientsWithinMs,
  type StoredMessage,
  shownBitSql,
  statesOf,
} from './read-messages.ts'

/** What to look for; absent parts are not looked at. Addresses and domains are in canonical form. */
export interface MessageSearch {
  /** An address with its local part in lower case. */
  toKey?: string
  fromKey?: string
  /** A part of the subject; case does not matter. */
  subject?: string
  tag?: string
  metadata?: Record<string, string>
  status?: MessageStatus
  /** Of any recipient. */
  reason?: string
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
/** Rows of the first look, more than a message has recipients: each look gets further. The others take twice as many as the one before. */
const lookRows = 2_000
const lookRowsAtMost = 16_000
/** A message's id has the time at which it was accepted, but for the clocks of two processes. */
const clockSlackMs = 60_000
/** A message and its recipients get their ids in one go (packages/flows/src/build-message.ts). */
const oneGoMs = 5_000

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
    const rows: MessageRow[] = []
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

interface Desk {
  client: pg.PoolClient
  tenantId: Uuid
  search: MessageSearch
}

/** @returns what was found, and where to look on: before that id; null when all was seen */
type Look = (within: IdRange, limit: number) => Promise<FoundMessages>

function lookFor(desk: Desk): Look {
  const { toKey, reason, status } = desk.search
  if (toKey !== undefined) return lookAtCandidates(desk, recipientsWith(desk, 'email_key = $2', toKey))
  if (reason !== undefined)
    return lookAtCandidates(desk, recipientsWith(desk, 'reason IS NOT NULL AND reason = $2', reason))
  const find = status && candidatesByStatus(desk, status)
  return find ? lookAtCandidates(desk, find) : lookAtMessages(desk)
}

/** What a message of that status must have, where there is an index of it; null: there is none. */
function candidatesByStatus(desk: Desk, status: MessageStatus): FindCandidates | null {
  switch (status) {
    case 'bounced':
    case 'failed':
    case 'suppressed':
      return recipientsWithEnd(desk, [status])
    case 'cancelled':
      return messagesWithEvent(desk, 'message.cancelled')
    case 'partially_delivered':
      return both(
        recipientsWithEnd(desk, ['bounced', 'failed', 'suppressed']),
        messagesWithEvent(desk, 'message.cancelled'),
      )
    case 'scheduled': {
      const asked = messagesWithEvent(desk, 'message.scheduled')
      return async (within, rows) => (await messagesThatWait(desk, status)) ?? asked(within, rows)
    }
    default:
      return isLive(status) ? () => messagesThatWait(desk, status) : null
  }
}

function isLive(status: MessageStatus): boolean {
  return recipientStates.some((state) => state === status && !isEnd(state))
}

/** Messages that can match: all of them that are at or after `from`; null: too many to say. */
type Candidates = { ids: Uuid[]; from: Uuid | null }
/** @param rows that are read at most */
type FindCandidates = (within: IdRange, rows: number) => Promise<Candidates | null>

/** What either of them finds, as far as both know. */
function both(one: FindCandidates, other: FindCandidates): FindCandidates {
  return async (within, rows) => {
    const found = [await one(within, rows), await other(within, rows)]
    const from =
      found
        .map((each) => each?.from ?? '')
        .toSorted()
        .at(-1) || null
    const ids = found.flatMap((each) => each?.ids ?? []).filter((id) => from === null || id >= from)
    return { ids: [...new Set(ids)], from }
  }
}

/** Unless digests leave little to be looked at, or there are too many candidates. */
function lookAtCandidates(desk: Desk, find: FindCandidates): Look {
  let other: Look | null = null
  let isFirst = true
  let rows = lookRows
  return async (within, limit) => {
    if (isFirst && hasTerms(desk.search)) {
      const known = await rangesToSearch(desk.client, desk.tenantId, desk.search, within)
      if (known !== null && known.next === null && known.ranges.length <= fewRanges)
        other = lookAtMessages(desk, known)
    }
    isFirst = false
    const candidates = other === null ? await find(within, rows) : null
    rows = Math.min(2 * rows, lookRowsAtMost)
    if (candidates === null) {
      other ??= lookAtMessages(desk)
      return other(within, limit)
    }
    const { ids, from } = candidates
    return { rows: ids.length === 0 ? [] : await matching(desk, { ids }, within, limit), next: from }
  }
}

/** So many ranges of 512 messages are looked at rather than candidates. */
const fewRanges = 10

function hasTerms({ fromKey, subject, tag, metadata, domain, stream }: MessageSearch): boolean {
  return [fromKey, subject, tag, metadata, domain, stream].some((part) => part !== undefined)
}

const recipientsWith = (desk: Desk, indexed: string, value: string): FindCandidates => {
  return (within, rows) => recipientsOf(desk, { indexed, value, ends: null }, within, rows)
}

/** Of what did not go well, by their ends, which all have a reason: PostgreSQL could not index the state without a cost for every mail. */
const recipientsWithEnd = (desk: Desk, ends: readonly RecipientState[]): FindCandidates => {
  const condition = { indexed: 'reason IS NOT NULL AND $2 <> reason', value: '', ends }
  return (within, rows) => recipientsOf(desk, condition, within, rows)
}

/**
 * Recipients newest first, by their own ids: a message's are later than its own. So the last of those that were read bounds what is known
 * of messages: those before it may have recipients that were not read yet.
 */
async function recipientsOf(
  { client, tenantId }: Desk,
  { indexed, value, ends }: { indexed: string; value: string; ends: readonly RecipientState[] | null },
  { from, before }: IdRange,
  limit: number,
): Promise<Candidates> {
  const { rows } = await client.query<{ id: Uuid; messageId: Uuid; status: RecipientState }>(
    `SELECT id, message_id AS "messageId", status FROM valija.recipients
      WHERE tenant_id = $1 AND ${indexed} AND id >= $3 AND id < $4 AND message_id < $5
      ORDER BY id DESC LIMIT $6`,
    [
      tenantId,
      value,
      from ?? lowestUuidAt(0),
      before === null ? highestUuid : lowestUuidAt(uuidTimeMs(before) + oneGoMs),
      before ?? highestUuid,
      limit,
    ],
  )
  const end = rows.length === limit ? (rows.at(-1)?.id ?? null) : null
  const messages = rows.flatMap((row) =>
    (ends === null || ends.includes(row.status)) && (end === null || row.messageId >= end)
      ? row.messageId
      : [],
  )
  return { ids: [...new Set(messages)], from: end }
}

/** By what was told of it: an event is written once, and indexed without a cost for the others. */
const messagesWithEvent = (
  { client, tenantId }: Desk,
  type: 'message.scheduled' | 'message.cancelled',
): FindCandidates => {
  return async ({ from, before }, limit) => {
    const { rows } = await client.query<{ id: Uuid }>(
      `SELECT message_id AS id FROM valija.events
        WHERE tenant_id = $1 AND type = '${type}' AND message_id >= $2 AND message_id < $3
        ORDER BY message_id DESC LIMIT $4`,
      [tenantId, from ?? lowestUuidAt(0), before ?? highestUuid, limit],
    )
    const ids = [...new Set(rows.map(({ id }) => id))]
    return { ids, from: rows.length === limit ? (ids.at(-1) ?? null) : null }
  }
}

const highestUuid = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/** Whoever is not at its end has a delivery: a small table, where the tenant's history is a large one. Unless very much waits. */
async function messagesThatWait(
  { client, tenantId }: Desk,
  status: MessageStatus,
): Promise<Candidates | null> {
  // What is sent this moment is leased. In the order of an index: else the whole table may be read for a tenant that has nothing there.
  const { rows } = await client.query<{ id: Uuid }>(
    `(SELECT message_id AS id FROM valija.deliveries WHERE tenant_id = $1 AND state = 'waiting' AND $3 ORDER BY stream, due_at LIMIT $2)
     UNION ALL (SELECT message_id FROM valija.deliveries WHERE tenant_id = $1 AND ${isInFlight} ORDER BY stream, state LIMIT $2)`,
    [tenantId, lookRows, status !== 'sending'],
  )
  return rows.length < lookRows ? { ids: [...new Set(rows.map(({ id }) => id))], from: null } : null
}

/** Through the messages themselves, range by range of those that are not ruled out. */
function lookAtMessages(desk: Desk, first?: { ranges: IdRange[]; next: Uuid | null }): Look {
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
 * @param of these, which have what their index was asked for; or so many, the newest of the range
 */
async function matching(
  { client, tenantId, search }: Desk,
  of: { ids: readonly Uuid[] } | { newest: number },
  within: IdRange,
  limit: number,
): Promise<MessageRow[]> {
  const values: unknown[] = [tenantId]
  const add = (value: unknown) => `$${values.push(value)}`
  const places = ['tenant_id = $1']
  if ('ids' in of) places.push(`id = ANY (${add(of.ids)}::uuid[])`)
  if (within.from !== null) places.push(`id >= ${add(within.from)}`)
  if (within.before !== null) places.push(`id < ${add(within.before)}`)
  const result = await client.query<StoredMessage & { states: number; sizeBytes: number | null }>(
    `SELECT ${messageColumns}, fold.states, fold."sizeBytes"
  FROM (
    SELECT * FROM valija.messages WHERE ${places.join(' AND ')} ORDER BY id DESC LIMIT ${add('ids' in of ? of.ids.length : of.newest)}
  ) AS m CROSS JOIN LATERAL (
    SELECT bit_or(${shownBitSql}) AS states, max(r.size_bytes) AS "sizeBytes"
    FROM valija.recipients AS r ${leaseSql}
    WHERE ${isRecipientOfM}
  ) AS fold
  WHERE ${conditionsOf(search, 'ids' in of, add).join(' AND ')}
  ORDER BY m.id DESC LIMIT ${add(limit)}`,
    values,
  )
  return result.rows.map(({ states, ...row }) => ({ ...row, status: messageStatus(statesOf(states)) }))
}

const isRecipientOfM = `r.tenant_id = $1 AND r.message_id = m.id AND r.id > m.id
      AND r.id < valija.lowest_uuid(m.created_at + interval '${recipientsWithinMs} milliseconds')`

/** @param areCandidates they have what `recipientCondition` asks for */
function conditionsOf(
  search: MessageSearch,
  areCandidates: boolean,
  add: (value: unknown) => string,
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
  const isByTo = areCandidates && search.toKey !== undefined
  const isByReason = areCandidates && search.toKey === undefined
  where((at) => hasRecipient(`r.email_key = ${at}`), isByTo ? undefined : search.toKey)
  where((at) => hasRecipient(`r.reason = ${at}`), isByReason ? undefined : search.reason)
  where((at) => `fold.states = ANY (${at})`, search.status && setsOfStatus(search.status))
  return conditions
}

/** The sets of states that make a message's status the given one. */
function setsOfStatus(status: MessageStatus): number[] {
  const sets = Array.from({ length: (1 << recipientStates.length) - 1 }, (_, index) => index + 1)
  return sets.filter((bits) => messageStatus(statesOf(bits)) === status)
}
