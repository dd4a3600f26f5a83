/**
 * Counts events into the statistics, by any worker, one at a time: every few seconds what is new, and without a pause while much is. What was
 * counted is judged: rates that are too high are alarms.
 */
import { countEvents, type Database, type Wake } from '@valija/store'
import { raiseAlarms } from './judge-rates.ts'
import { createSleeper } from './sleeper.ts'

export interface StatsWatch {
  start(): void
  /** Resolves when what is being counted is. */
  stop(): Promise<void>
}

export interface StatsWatchParts {
  database: Database
  wake: Wake
  onError: (error: Error) => void
}

const everyMs = 5_000
/** Some 0.4 s of PostgreSQL's time, and rows that are locked for as long. */
const together = 20_000

export function createStatsWatch({ database, wake, onError }: StatsWatchParts): StatsWatch {
  const round = async () => {
    const outcome = await countEvents(database.engine, { notWithinMs: everyMs / 2, most: together })
    if (outcome !== 'busy' && !outcome.isUpToDate) return 0
    await raiseAlarms({ database, wake })
    return everyMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return { start: () => sleeper.wake(), stop: () => sleeper.stop() }
}
