/**
 * The mark of mail that is held after a restore (restored-deliveries.ts), in `deliveries.hold`. Unlike every other hold it stays with the row
 * whatever is done to it (leased, given back, moved, swept), until the operator lets it go: a worker that meets it sends nothing.
 */
import { type Stream, streams } from '@valija/core'

const prefix = 'restored:'

export const restoredMark = (stream: Stream) => `${prefix}${stream}`
export const restoredMarks = streams.map(restoredMark)

/** The mark of a row, as an SQL expression; null where it has none. */
export const restoredMarkSql = (row: string) => `CASE WHEN ${row}.hold LIKE '${prefix}%' THEN ${row}.hold END`

/** The mark that a row is to have, as an SQL expression. */
export const newRestoredMarkSql = (row: string) => `'${prefix}' || ${row}.stream`
