/** Bounds of the ids that belong to a message, so that only the days that can hold them are opened. */
import { lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'

/**
 * How far two processes' readings of PostgreSQL's clock can be apart, with a margin: an event's id may be older than its
 * message's, made by an API process, where its maker's clock has stood still or followed nothing (`DatabaseClock.saw`).
 */
const clockSlackMs = 60_000

/** No attempt or event of the message has an id below this. */
export function earliestIdOf(messageId: Uuid): Uuid {
  return lowestUuidAt(uuidTimeMs(messageId) - clockSlackMs)
}
