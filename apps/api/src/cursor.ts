/**
 * Cursors of lists: where the page before ended, in a form that clients have no reason to look into (base64url). They hold
 * nothing secret: a forged one only moves a reader within the rows that the reader may see anyway.
 */
import { invalidRequest, type Uuid } from '@valija/core'
import type { EventPosition, TlsReportPosition } from '@valija/store'

/** The cursor behind a row of a list that is ordered by id. */
export function idCursor(id: Uuid): string {
  return encode(id)
}

/**
 * @returns null without a cursor
 * @throws {ProductError} invalid_request at `cursor`
 */
export function readIdCursor(cursor: string | undefined): Uuid | null {
  if (cursor === undefined) return null
  const text = decode(cursor)
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw badCursor()
  return text
}

/** The cursor for a position in the stream of events. */
export function eventCursor({ transaction, id, floorMs }: EventPosition): string {
  return encode(`${transaction}.${id}.${floorMs}`)
}

/** @throws {ProductError} invalid_request at `cursor` */
export function readEventCursor(cursor: string): EventPosition {
  const match = /^(\d{1,19})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,15})$/.exec(decode(cursor))
  const [, transaction, id, floorMs] = match ?? []
  if (transaction === undefined || id === undefined || floorMs === undefined) throw badCursor()
  return { transaction, id, floorMs: Number(floorMs) }
}

/** A page's answer: one row more than `limit` was read, to know whether there is a next page. */
export function toPage<T extends { id: Uuid }, S>(
  rows: readonly T[],
  limit: number,
  show: (row: T) => S,
): { data: S[]; next_cursor: string | null } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { data: shown.map(show), next_cursor: rows.length > limit && last ? idCursor(last.id) : null }
}

/** The cursor behind a row of the TLS report. */
export function tlsReportCursor({ day, domain, policy, mx, result }: TlsReportPosition): string {
  return encode([day, domain, policy, mx, result].join(' '))
}

/** @throws {ProductError} invalid_request at `cursor` */
export function readTlsReportCursor(cursor: string): TlsReportPosition {
  const match = /^(20\d\d-\d\d-\d\d) ([!-~]+) ([!-~]+) ([!-~]+) ([!-~]+)$/.exec(decode(cursor))
  const [, day, domain, policy, mx, result] = match ?? []
  if (!day || !domain || !policy || !mx || !result || !isDay(day)) throw badCursor()
  return { day, domain, policy, mx, result }
}

function isDay(day: string): boolean {
  const at = new Date(`${day}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(day)
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url')
}

function decode(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString('latin1')
}

function badCursor() {
  return invalidRequest([
    { path: 'cursor', message: 'Is not a cursor of this list. Take next_cursor as it is.' },
  ])
}
