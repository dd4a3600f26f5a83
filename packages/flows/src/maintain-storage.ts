/**
 * Housekeeping, by any worker, now and then: the partitions of the next days, those beyond the retention, and idempotency
 * keys whose time is over.
 * Doing it twice at the same time is harmless.
 */
import {
  countStrayRows,
  type Database,
  dropOldPartitions,
  ensurePartitions,
  forgetOldInboxMails,
  forgetOldKeys,
} from '@valija/store'
import { createSleeper } from './sleeper.ts'

export interface Maintenance {
  start(): void
  stop(): Promise<void>
}

export interface MaintenanceDependencies {
  database: Database
  /** How long bodies, and how long messages, attempts and events are kept, in milliseconds. */
  retention: { contentMs: number; historyMs: number }
  log: (fields: { count: number }, text: string) => void
  onError: (error: Error) => void
}

const everyMs = 15 * 60_000
const afterErrorMs = 60_000

export function createMaintenance({
  database,
  retention,
  log,
  onError,
}: MaintenanceDependencies): Maintenance {
  const round = async () => {
    await ensurePartitions(database.engine)
    while ((await forgetOldKeys(database.engine)) > 0);
    while ((await forgetOldInboxMails(database.engine, retention.contentMs)) > 0);
    const dropped = await dropOldPartitions(database.engine, retention)
    if (dropped > 0) log({ count: dropped }, 'partitions beyond the retention were dropped')
    const strayRows = await countStrayRows(database.engine)
    if (strayRows > 0)
      log({ count: strayRows }, 'rows stand in a default partition: their day had none of its own')
    return everyMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs })
  return { start: sleeper.wake, stop: sleeper.stop }
}
