/**
 * Housekeeping, by any worker, now and then: the partitions of the next days, those beyond the retention, idempotency keys
 * whose time is over, and what disabled endpoints were never told.
 * Doing it twice at the same time is harmless. A step that fails keeps no other from its turn.
 */
import {
  countStrayRows,
  type Database,
  dropOldPartitions,
  ensurePartitions,
  forgetOldInboxMails,
  forgetOldKeys,
  forgetUntoldEvents,
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
  database: { engine },
  retention,
  log,
  onError,
}: MaintenanceDependencies): Maintenance {
  let isStopped = false
  /** Does a bounded piece of work again until there is none left. Returns how much was done. */
  const exhaust = async (work: () => Promise<number>): Promise<number> => {
    let total = 0
    for (let done = 1; done > 0 && !isStopped; total += done) done = await work()
    return total
  }
  // What endpoints are no longer told of comes before the days that it keeps.
  const steps = [
    () => ensurePartitions(engine),
    () => exhaust(() => forgetOldKeys(engine)),
    () => exhaust(() => forgetOldInboxMails(engine, retention.contentMs)),
    () => exhaust(() => forgetUntoldEvents(engine, retention.historyMs)),
    async () => {
      const dropped = await exhaust(() => dropOldPartitions(engine, retention))
      if (dropped > 0) log({ count: dropped }, 'partitions beyond the retention were dropped')
    },
    async () => {
      const strayRows = await countStrayRows(engine)
      if (strayRows > 0)
        log({ count: strayRows }, 'rows stand in a default partition: their day had none of its own')
    },
  ]
  const round = async () => {
    let hasFailed = false
    for (const step of steps) {
      if (isStopped) break
      try {
        await step()
      } catch (error) {
        hasFailed = true
        onError(error as Error)
      }
    }
    return hasFailed ? afterErrorMs : everyMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs })
  return {
    start: sleeper.wake,
    stop: () => {
      isStopped = true
      return sleeper.stop()
    },
  }
}
