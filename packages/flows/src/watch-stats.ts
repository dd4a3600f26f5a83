/**
 * Counts events into the statistics, by any worker, one at a time: every few seconds what is new, and while much is, in a fifth of its time. What was
 * counted is judged: rates that are too high are alarms.
 */
import { type CountOutcome, countEvents, type Database, type Wake } from '@valija/store'
import { judgeTenantRates } from './judge-rates.ts'
import { restAfter } from './leisure.ts'
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
/**
 * What is behind (a million mails came while no worker ran) is caught up beside mail that waits to be delivered. Without a rest that took one of two
 * cores: with 300,000 waiting 940 mails a second were delivered instead of 2,600. With it some 9,000 events a second are counted, of which a mail has two;
 * several workers, and so several machines, catch up as many times as much.
 */
const catchUpRestFactor = 4
/** Few, since `GET /events` stands still for all tenants while what was counted is written; each page looks at all tenants, so not fewer. */
const together = 5_000

/**
 * How long nobody counts after a count.
 *
 * @param tookMs with the judging
 */
export function restAfterCount(outcome: CountOutcome, tookMs: number): number {
  if (outcome !== 'busy' && !outcome.isUpToDate) return restAfter(tookMs, catchUpRestFactor)
  return Math.max(everyMs, tookMs * restFactor)
}

export function createStatsWatch({ database, wake, onPaused, onError }: StatsWatchParts): StatsWatch {
  const round = async () => {
    const startedAtMs = performance.now()
    const outcome = await countEvents(database.engine, { notWithinMs: everyMs / 2, most: together })
    // Also while much is left: who sends to nobody but strangers is not to go on until the last of it is counted.
    await judgeTenantRates({ database, wake, onPaused })
    return restAfterCount(outcome, performance.now() - startedAtMs)
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return { start: () => sleeper.wake(), stop: () => sleeper.stop() }
}
