/**
 * Reading a tenant's events: the stream, which never skips one, and a message's timeline.
 *
 * The stream's order is (transaction, id). Ids alone do not do: a transaction that began earlier may commit later, and its
 * events would appear behind a reader's back. So a row is shown only once no open transaction can precede it, that is, while
 * its transaction is below the oldest one still open in this statement's snapshot (DESIGN 4.13). A transaction that stays
 * open delays the stream and never makes it skip.
 *
 * A position never lies behind the last event that may be shown. Numbers of transactions that wrote nothing durable are given out
 * anew after a crash of PostgreSQL, so what is empty today may be filled tomorrow; those up to a committed event are not.
 */
import { type EventType, lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import { type Database, readAsTenant } from './database.ts'
import { earliestIdOf } from './message-ids.ts'
import { extendedSql } from './suspend-tenant.ts'

export interface EventRow {
  id: Uuid
  type: EventType
  createdAt: Date
  data: Record<string, unknown>
}

/** A place in the stream, between two events. */
export interface EventPosition {
  /** An xid8 in decimal. */
  transaction: string
  id: Uuid
  /** No event behind this place has an id that is older, in milliseconds since 1970: which days need not be opened. */
  floorMs: number
}

export const nilUuid: Uuid = '00000000-0000-0000-0000-000000000000'

/** How much older than its transaction's neighbours an event's id can be: it was made before a commit that had to wait. */
const slackMs = 2 * 86_400_000
/** Bounces are told for 60 days after a hand-off (DESIGN 4.9). */
export const lateEventsMs = 61 * 86_400_000

/** Where the stream begins, or what was written at or after a time. */
export function streamStart(afterMs = 0): EventPosition {
  return { transaction: '0', id: nilUuid, floorMs: afterMs }
}

export interface EventFilter {
  /** Only these types. */
  types: readonly EventType[]
  /** Only what happened at or after. */
  afterMs?: number
}

/**
 * Each day's index has the events in order, so a page needs no more than its first rows. PostgreSQL would rather read all behind the position and
 * sort them whenever it believes that they are few, as it does of transactions that are newer than its statistics: a reader that
 * lags would have all of it read for each page.
 */
const inOrderOfIndex = 'SET LOCAL enable_sort = off'

/** Events of the first look; the others take twice as many as the one before. */
const lookRows = 1_000
const lookRowsAtMost = 16_000
/** After this a page ends early: whoever asks for a rare type has its cursor taken on by so many events, and asks again. */
const patienceMs = 500

/**
 * The next events behind a position, oldest first, by looks at some thousand events of any type.
 *
 * @param timeMs after which the page ends early
 * @returns the events and the position behind them. When there are fewer than `limit`, it is behind the last event of any
 *   type that was looked at, so that asking again does not search the same rows again
 */
export async function readEvents(
  database: Database,
  tenantId: Uuid,
  filter: EventFilter,
  page: { from: EventPosition; limit: number },
  timeMs = patienceMs,
): Promise<{ events: EventRow[]; next: EventPosition }> {
  const deadline = performance.now() + timeMs
  const events: EventRow[] = []
  let { from } = page
  for (let rows = lookRows; ; rows = Math.min(2 * rows, lookRowsAtMost)) {
    const seen = await lookAtEvents(database, tenantId, filter, {
      from,
      limit: page.limit - events.length,
      rows,
    })
    events.push(...seen.events)
    from = seen.next
    if (events.length === page.limit || seen.isAll || performance.now() > deadline)
      return { events, next: from }
  }
}

interface Look {
  from: EventPosition
  /** Events that are wanted. */
  limit: number
  /** Events of any type that are looked at. */
  rows: number
}

type SeenEvent = EventRow & { transaction: string }

async function lookAtEvents(
  database: Database,
  tenantId: Uuid,
  filter: EventFilter,
  look: Look,
): Promise<{ events: EventRow[]; next: EventPosition; isAll: boolean }> {
  const { from, limit, rows } = look
  const behind = `tenant_id = $1 AND (transaction, id) > ($2::xid8, $3::uuid) AND transaction < horizon.xmin AND id >= $4`
  const result = await readAsTenant(
    database,
    tenantId,
    (client) =>
      client.query<Snapshot & (SeenEvent | { [K in keyof SeenEvent]: null })>({
        text: `WITH horizon AS MATERIALIZED (SELECT valija.event_horizon() AS xmin)
        SELECT newest.transaction::text AS "newestTransaction", newest.id AS "newestId",
          until.transaction::text AS "untilTransaction", until.id AS "untilId",
          (extract(epoch FROM now()) * 1000)::float8 AS "nowMs",
          e.transaction::text AS transaction, e.id, e.type, e.created_at AS "createdAt", e.data
        FROM horizon LEFT JOIN LATERAL (
          SELECT transaction, id FROM valija.events WHERE ${behind} ORDER BY transaction DESC, id DESC LIMIT 1
        ) AS newest ON true LEFT JOIN LATERAL (
          SELECT transaction, id FROM valija.events WHERE ${behind} ORDER BY transaction, id OFFSET $8 - 1 LIMIT 1
        ) AS until ON true LEFT JOIN LATERAL (
          SELECT * FROM (
            SELECT transaction, id, type, created_at, data FROM valija.events WHERE ${behind} ORDER BY transaction, id LIMIT $8
          ) AS looked_at
          WHERE type = ANY ($5) AND created_at >= $6
          ORDER BY transaction, id LIMIT $7
        ) AS e ON true
        ORDER BY e.transaction, e.id`,
        values: [
          tenantId,
          from.transaction,
          from.id,
          lowestUuidAt(from.floorMs),
          filter.types,
          new Date(filter.afterMs ?? 0),
          limit,
          rows,
        ],
      }),
    inOrderOfIndex,
  )
  const seen = result.rows.flatMap((row) => {
    const { transaction, id, type, createdAt, data } = row
    return id === null ? [] : [{ transaction, id, type, createdAt, data }]
  })
  return {
    events: seen.map(({ transaction: _, ...event }) => event),
    next: nextPosition(seen, result.rows[0], look),
    isAll: !result.rows[0]?.untilId,
  }
}

/** What the statement saw besides: of what may be shown behind the position, of any type, the newest event and the last one that was looked at. */
type Snapshot = {
  nowMs: number
  newestTransaction: string | null
  newestId: Uuid | null
  /** Null: the look got to the newest. */
  untilTransaction: string | null
  untilId: Uuid | null
}

function nextPosition(
  events: readonly SeenEvent[],
  snapshot: Snapshot | undefined,
  { from, limit }: Look,
): EventPosition {
  const last = events.at(-1)
  if (last && events.length === limit) return positionBehind(last.transaction, last.id, from)
  if (snapshot === undefined) return from
  const { newestTransaction, newestId, untilTransaction, untilId, nowMs } = snapshot
  if (untilTransaction !== null && untilId !== null) return positionBehind(untilTransaction, untilId, from)
  const floorMs = floorAt(nowMs, from)
  // Another process's snapshot may have been further already.
  return newestTransaction === null || newestId === null
    ? { ...from, floorMs }
    : { transaction: newestTransaction, id: newestId, floorMs }
}

function positionBehind(transaction: string, id: Uuid, from: EventPosition): EventPosition {
  return { transaction, id, floorMs: floorAt(uuidTimeMs(id), from) }
}

function floorAt(timeMs: number, from: EventPosition): number {
  return Math.max(from.floorMs, Math.floor(timeMs) - slackMs)
}

/**
 * A message's events, oldest first; null for a message that is unknown or another tenant's.
 *
 * @param page.after only later events than this one; null for the first page
 */
export async function readMessageEvents(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
  filter: Pick<EventFilter, 'types'>,
  page: { after: Uuid | null; limit: number },
): Promise<EventRow[] | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const message = await client.query<{ expiresAt: Date }>({
      name: 'find-message-expiry',
      text: `SELECT ${extendedSql('m', 'messages')} AS "expiresAt" FROM valija.messages AS m WHERE m.tenant_id = $1 AND m.id = $2`,
      values: [tenantId, messageId],
    })
    const expiresAt = message.rows[0]?.expiresAt
    if (expiresAt === undefined) return null
    const result = await client.query<EventRow>({
      name: 'read-message-events',
      text: `SELECT id, type, created_at AS "createdAt", data FROM valija.events
        WHERE tenant_id = $1 AND message_id = $2 AND id > $3 AND id < $4 AND type = ANY ($5)
        ORDER BY id LIMIT $6`,
      values: [
        tenantId,
        messageId,
        page.after ?? earliestIdOf(messageId),
        lowestUuidAt(expiresAt.getTime() + lateEventsMs),
        filter.types,
        page.limit,
      ],
    })
    return result.rows
  })
}
