/**
 * Counts events into the statistics, by any worker, one at a time: every few seconds what is new, and while much is, in a fifth of its time. What was
 * counted is judged: rates that are too high are alarms.
 */
import { type CountOutcome, countEvents, type Database, type DatabaseClock, type Wake } from '@valija/store'
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
  /** PostgreSQL's. */
  clock: Pick<DatabaseClock, 'nowMs'>
  onPaused: (tenantId: string) => void
  onError: (error: Error) => void
}

const everyMs = 5_000
/** With thousands of tenants a look takes a while even where nothing is new: so many times as long as it took nobody looks again. */
const restFactor = 10
/**
 * What is behind (a million mails came while no worker ran) is caught up beside mail that waits to be delivered. Without a rest that took one of two
 * cores: with 300,000 waiting 940 mails a second were delivered instead of 2,600. With a fifth of the time some 9,000 events a second are counted, of
 * which a mail has two. Where that has not been enough for long, it is half of the time.
 */
const catchUpRestFactor = { atFirst: 4, later: 1 }
const laterMs = 600_000
/** What is behind by no more than this is judged nevertheless: of the 24 hours that rates are of, it has nearly all. */
const judgedWithinMs = 3_600_000
/** Few, since `GET /events` stands still for all tenants while what was counted is written; each page looks at all tenants, so not fewer. */
const together = 5_000

/**
 * How long nobody counts after a count.
 *
 * @param tookMs with the judging
 * @param behindMs for how long this process has met more than it counted
 */
export function restAfterCount(outcome: CountOutcome, tookMs: number, behindMs: number): number {
  if (outcome === 'busy' || outcome.isUpToDate) return Math.max(everyMs, tookMs * restFactor)
  return restAfter(tookMs, behindMs < laterMs ? catchUpRestFactor.atFirst : catchUpRestFactor.later)
}

/** Whether what is counted says how things are now. */
export function mayBeJudged(outcome: CountOutcome, nowMs: number): boolean {
  // Who counts judges as well.
  if (outcome === 'busy') return false
  return outcome.isUpToDate || (outcome.asOf !== null && nowMs - outcome.asOf.getTime() < judgedWithinMs)
}

export function createStatsWatch(parts: StatsWatchParts): StatsWatch {
  const { database, wake, clock, onPaused, onError } = parts
  let behindSinceMs: number | null = null
  const round = async () => {
    const startedAtMs = performance.now()
    const outcome = await countEvents(database.engine, { notWithinMs: everyMs / 2, most: together })
    if (mayBeJudged(outcome, clock.nowMs())) await judgeTenantRates({ database, wake, onPaused })
    if (outcome !== 'busy') behindSinceMs = outcome.isUpToDate ? null : (behindSinceMs ?? startedAtMs)
    const now = performance.now()
    return restAfterCount(outcome, now - startedAtMs, now - (behindSinceMs ?? now))
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return { start: () => sleeper.wake(), stop: () => sleeper.stop() }
}
