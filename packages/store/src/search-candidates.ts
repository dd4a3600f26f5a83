/**
 * Where a search of messages begins that asks for what is rare and has an index: messages that can match, newest first, some thousand at a time.
 * Their other conditions are looked at with the messages themselves (search-messages.ts).
 *
 * What became of a message is found by what was told of it: whoever changes a recipient's state writes the event in the same
 * transaction (new-events.ts), an event keeps its type, message and reason (an erasure changes no more of it than what names the person), and so an
 * index of some types costs the others nothing. An index of the states themselves would be written for every mail, and keep every change of a recipient from being a HOT one.
 */
import {
  type EventType,
  isEnd,
  lowestUuidAt,
  type MessageStatus,
  type RecipientState,
  recipientStates,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { isInFlight } from './admission.ts'
import type { IdRange } from './message-digests.ts'

/** The conditions that have an index. */
export interface IndexedSearch {
  /** An address with its local part in lower case. */
  toKey?: string
  status?: MessageStatus
  /** Of any recipient. */
  reason?: string
}

export interface SearchDesk {
  client: pg.PoolClient
  tenantId: Uuid
  search: IndexedSearch
}

export interface Candidates {
  /** Messages that can match, newest first: all of them that are at or after `from`, or, where that is null, all there are. */
  ids: Uuid[]
  from: Uuid | null
}

/**
 * @param rows that are read at most
 * @returns null: too many to say, or it is not known
 */
type FindCandidates = (within: IdRange, rows: number) => Promise<Candidates | null>

/** One of the conditions and how its candidates are found, who all meet it, but for `status`, whose candidates may. */
export interface Way {
  by: keyof IndexedSearch
  find: FindCandidates
}

/** More than a message has recipients, so that each look gets further. */
export const lookRows = 2_000
/** A look takes twice as many rows as the one before, up to this. */
export const lookRowsAtMost = 16_000
/** Fewer candidates than this are looked at without asking whether another way has fewer. */
const fewCandidates = 100
export const highestUuid = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
/** A message and its recipients get their ids in one go (packages/flows/src/build-message.ts). */
const oneGoMs = 5_000

/** The ways for what is looked for; none: it has no index. */
export function waysToCandidates(desk: SearchDesk): Way[] {
  const { toKey, reason, status } = desk.search
  const byStatus = status && candidatesByStatus(desk, status)
  return [
    ...(toKey === undefined
      ? []
      : [{ by: 'toKey', find: recipientsWith(desk, 'email_key = $2', toKey) } as const]),
    ...(reason === undefined
      ? []
      : [
          { by: 'reason', find: recipientsWith(desk, 'reason IS NOT NULL AND reason = $2', reason) } as const,
        ]),
    ...(byStatus ? [{ by: 'status', find: byStatus } as const] : []),
  ]
}

/**
 * The candidates of the way that has the fewest: of two that read as many rows the one that got further back.
 *
 * @returns null: no way knows them
 */
export async function candidatesBy(
  ways: readonly Way[],
  within: IdRange,
  rows: number,
): Promise<{ way: Way; candidates: Candidates } | null> {
  let best: { way: Way; candidates: Candidates } | null = null
  for (const way of ways) {
    const candidates = await way.find(within, rows)
    if (candidates && (best === null || areFewer(candidates, best.candidates))) best = { way, candidates }
    if (best?.candidates.from === null && best.candidates.ids.length < fewCandidates) break
  }
  return best
}

function areFewer(one: Candidates, other: Candidates): boolean {
  return one.from === other.from ? one.ids.length < other.ids.length : (one.from ?? '') < (other.from ?? '')
}

/** What a message of that status must have, where there is an index of it; null: there is none. */
function candidatesByStatus(desk: SearchDesk, status: MessageStatus): FindCandidates | null {
  switch (status) {
    case 'bounced':
    case 'failed':
    case 'suppressed':
    case 'cancelled':
      return messagesTold(desk, `message.${status}`)
    case 'partially_delivered':
      return messagesOfSeveral(desk)
    case 'scheduled': {
      const asked = messagesTold(desk, 'message.scheduled')
      return async (within, rows) => (await messagesThatWait(desk, status)) ?? asked(within, rows)
    }
    default:
      return isLive(status) ? () => messagesThatWait(desk, status) : null
  }
}

function isLive(status: MessageStatus): boolean {
  return recipientStates.some((state: RecipientState) => state === status && !isEnd(state))
}

/**
 * Recipients newest first, by their own ids: a message's are later than its own. So the last of those that were read bounds what is known
 * of messages: those before it may have recipients that were not read yet.
 *
 * @param indexed a condition on recipients, with the value as $2
 */
function recipientsWith({ client, tenantId }: SearchDesk, indexed: string, value: string): FindCandidates {
  return async ({ from, before }, limit) => {
    const { rows } = await client.query<{ id: Uuid; messageId: Uuid }>(
      `SELECT id, message_id AS "messageId" FROM valija.recipients
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
    const messages = rows.flatMap(({ messageId }) => (end === null || messageId >= end ? messageId : []))
    return { ids: newestFirst(messages), from: end }
  }
}

/** Messages of which this was told, newest first: indexed by the migrations `stops` and `ends`. */
function messagesTold(desk: SearchDesk, type: EventType): FindCandidates {
  return async (within, limit) => {
    const { rows } = await desk.client.query<{ id: Uuid }>(
      `SELECT message_id AS id FROM valija.events
        WHERE tenant_id = $1 AND type = '${type}' AND message_id >= $2 AND message_id < $3
        ORDER BY message_id DESC LIMIT $4`,
      [desk.tenantId, ...rangeOf(within), limit],
    )
    const ids = newestFirst(rows.map(({ id }) => id))
    if (rows.length === limit) return { ids, from: ids.at(-1) ?? null }
    return asFarAsTold(desk, within, ids)
  }
}

const rangeOf = ({ from, before }: IdRange): [Uuid, Uuid] => [from ?? lowestUuidAt(0), before ?? highestUuid]

/** Those are all that there are events of. What is older than the events is to be looked through. */
async function asFarAsTold(
  desk: SearchDesk,
  { from, before }: IdRange,
  ids: Uuid[],
): Promise<Candidates | null> {
  const untold = await beforeWhichIsForgotten(desk)
  if (untold === null || (from !== null && from >= untold)) return { ids, from: null }
  return before !== null && before <= untold ? null : { ids, from: untold }
}

/**
 * Events go with their day, and messages stay while one of theirs waits: of those that are of before the first day of events what was told
 * may be gone.
 *
 * @returns null: there are none
 */
async function beforeWhichIsForgotten({ client }: SearchDesk): Promise<Uuid | null> {
  const firstDay = (table: string) =>
    `SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) AS day FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'valija.${table}'::regclass AND c.relname ~ '_[0-9]{8}$'`
  const { rows } = await client.query<{ id: Uuid }>(
    `SELECT valija.lowest_uuid(told.day AT TIME ZONE 'UTC') AS id
     FROM (${firstDay('events')}) AS told JOIN (${firstDay('messages')}) AS kept ON kept.day < told.day`,
  )
  return rows[0]?.id ?? null
}

/**
 * Messages with several recipients, as only they can end in several ways: all of them, where they are few, and those of which something else than a
 * delivery was told. That is indexed by the migration `ends_in_several_ways`.
 */
function messagesOfSeveral(desk: SearchDesk): FindCandidates {
  const { client, tenantId } = desk
  return async (within, limit) => {
    const range = [tenantId, ...rangeOf(within)]
    const few = Math.ceil(limit / 8)
    const all = await client.query<{ id: Uuid }>(
      `SELECT id FROM valija.messages WHERE ${ofSeveral} ORDER BY id DESC LIMIT $4`,
      [...range, few],
    )
    if (all.rows.length < few) return { ids: all.rows.map(({ id }) => id), from: null }
    // Most of them are no candidates: so more are read at a time, and only those that are come to us.
    const each = Math.min(8 * limit, lookRowsAtMost)
    const { rows } = await client.query<{ ids: Uuid[]; from: Uuid | null }>(ofBothSql, [...range, each])
    const [{ ids, from } = { ids: [], from: null }] = rows
    const candidates = newestFirst(ids)
    return from === null ? asFarAsTold(desk, within, candidates) : { ids: candidates, from }
  }
}

/** For $1 the tenant and ids from $2 on and before $3. */
const ofSeveral = 'tenant_id = $1 AND id >= $2 AND id < $3 AND recipient_count > 1'
/**
 * Up to $4 rows of each, and `from` where that ends for one of them. Each is read by itself: to plan a join of two tables that are cut into days takes
 * PostgreSQL longer than to read them.
 */
const ofBothSql = `
  WITH known AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM valija.messages WHERE ${ofSeveral} ORDER BY id DESC LIMIT $4::int) AS several,
      ARRAY(
        SELECT message_id FROM valija.events WHERE tenant_id = $1 AND message_id >= $2 AND message_id < $3
          AND type IN ('message.bounced', 'message.failed', 'message.suppressed', 'message.cancelled')
        ORDER BY message_id DESC LIMIT $4::int) AS undelivered
  )
  SELECT ARRAY(SELECT unnest(several) INTERSECT SELECT unnest(undelivered))::text[] AS ids,
    greatest(several[$4::int], undelivered[$4::int]) AS from
  FROM known`

/** Whoever is not at its end has a delivery: a small table, where the tenant's history is a large one. Unless very much waits. */
async function messagesThatWait(
  { client, tenantId }: SearchDesk,
  status: MessageStatus,
): Promise<Candidates | null> {
  // What is sent this moment is leased. In the order of an index: else the whole table may be read for a tenant that has nothing there.
  const { rows } = await client.query<{ id: Uuid }>(
    `(SELECT message_id AS id FROM valija.deliveries WHERE tenant_id = $1 AND state = 'waiting' AND $3 ORDER BY stream, due_at LIMIT $2)
     UNION ALL (SELECT message_id FROM valija.deliveries WHERE tenant_id = $1 AND ${isInFlight} ORDER BY stream, state LIMIT $2)`,
    [tenantId, lookRows, status !== 'sending'],
  )
  return rows.length < lookRows ? { ids: newestFirst(rows.map(({ id }) => id)), from: null } : null
}

/**
 * One of many ids in a parameter, as an SQL operand. PostgreSQL would weigh each of them for each day of the table while it plans, and that took longer than
 * to find them; so it is not told of them before. Bounds are to say which days they are of.
 */
export const anyOf = (parameter: string): string => `ANY (ARRAY(SELECT unnest(${parameter}::uuid[])))`

/** Each once. */
const newestFirst = (ids: readonly Uuid[]): Uuid[] => [...new Set(ids)].toSorted().toReversed()
