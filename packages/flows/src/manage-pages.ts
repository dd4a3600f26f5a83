/** Pages of lists: the cursor is the id of the last entry, so a page costs the same wherever it stands. */
import { formatId, type IdKind, invalidRequest, parseId, type Uuid } from '@valija/core'

export interface PageRequest {
  limit: number
  cursor?: string
}

export interface PageAnswer<T> {
  data: T[]
  next_cursor: string | null
}

/**
 * Reads a page's worth of rows and one more, which tells whether there is a next page.
 *
 * @param kind of the ids in the cursor
 * @throws {ProductError} invalid_request when the cursor is none of this list
 */
export async function readPage<Row extends { id: Uuid }, View>(
  kind: IdKind,
  request: PageRequest,
  read: (page: { limit: number; after: Uuid | null }) => Promise<Row[]>,
  toView: (row: Row) => View,
): Promise<PageAnswer<View>> {
  const after = request.cursor === undefined ? null : parseId(kind, request.cursor)
  if (request.cursor !== undefined && after === null) {
    throw invalidRequest([{ path: 'cursor', message: 'is not the next_cursor of a page of this list' }])
  }
  const rows = await read({ limit: request.limit + 1, after })
  const shown = rows.slice(0, request.limit)
  const last = rows.length > shown.length ? shown.at(-1) : undefined
  return { data: shown.map(toView), next_cursor: last ? formatId(kind, last.id) : null }
}
