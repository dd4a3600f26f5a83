/**
 * Counts events into the statistics, by any worker, one at a time: every few seconds what is new, and without a pause while much is. What was
 * counted is judged: rates that are too high are alarms.
 */
import { countEvents, type Database, type Wake } from '@valija/store'
import { judgeTenantRates } from './judge-rates.ts'
import { createSleeper } from './sleeper.ts'

export interface StatsWatch {
  start(): void
  /** Resolves when what is being counted is. */
  stop(): Promise<void>
}

export interface StatsWatchParts {
  database: Database
  wake: Wake
  onPaused: (tenantId: string) => void
  onError: (error: Error) => void
}

const everyMs = 5_000
/** With thousands of tenants a look takes a while even where nothing is new: so many times as long as it took nobody looks again. */
const restFactor = 10
/** Few, since `GET /events` stands still for all tenants while what was counted is written; each page looks at all tenants, so not fewer. */
const together = 5_000

export function createStatsWatch({ database, wake, onPaused, onError }: StatsWatchParts): StatsWatch {
  const round = async () => {
    const startedAtMs = performance.now()
    const outcome = await countEvents(database.engine, { notWithinMs: everyMs / 2, most: together })
    if (outcome !== 'busy' && !outcome.isUpToDate) return 0
    await judgeTenantRates({ database, wake, onPaused })
    return Math.max(everyMs, (performance.now() - startedAtMs) * restFactor)
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return { start: () => sleeper.wake(), stop: () => sleeper.stop() }
}
