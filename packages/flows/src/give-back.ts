/**
 * Giving leases back untried. What is handed back in one turn of the event loop, or while PostgreSQL is busy with what came
 * before, goes in one statement: a site that is down may hand back thousands.
 */
import { steadyNowMs } from '@valija/core'
import { type Database, isPassingDatabaseError, releaseLeases, type Wake } from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import { createBatcher } from './batcher.ts'
import type { HeldLease, HeldLeases } from './held-leases.ts'
import { laterPayload } from './settle-desk.ts'

export interface GiveBackDesk {
  /**
   * Never throws: when PostgreSQL stays away the leases run out by themselves.
   *
   * @param untilMs when they are due again, by `steadyNowMs()`; a time that is over: at once
   * @param hold why they wait, as explain reads it: what kind of hold, a colon, and whose
   * @param onBack called when they are
   */
  giveBack(leases: readonly HeldLease[], untilMs: number, hold: string | null, onBack?: () => void): void
  /** Resolves when all that was handed in is given back, or never will be. */
  drain(): Promise<void>
}

export interface GiveBackDependencies {
  database: Database
  wake: Wake
  leases: HeldLeases
  /** Ends the waiting for a PostgreSQL that is away. */
  hurried: AbortSignal
  onError: (error: Error) => void
}

interface Return {
  lease: HeldLease
  untilMs: number
  hold: string | null
}

const batchLimits = { maxItems: 1_000, maxWeight: 1_000 }
/** Due times are rounded up to this, so that the same pause, met a moment later, is the same statement. */
const untilStepMs = 250

export function createGiveBackDesk({
  database,
  wake,
  leases,
  hurried,
  onError,
}: GiveBackDependencies): GiveBackDesk {
  const release = async (returns: Return[]): Promise<undefined[]> => {
    const now = steadyNowMs()
    const stepOf = (untilMs: number) => (untilMs <= now ? 0 : Math.ceil(untilMs / untilStepMs) * untilStepMs)
    const alike = Map.groupBy(returns, ({ untilMs, hold }) => `${stepOf(untilMs)} ${hold ?? ''}`)
    for (const group of alike.values()) {
      const { untilMs, hold } = group[0]!
      const held = group.map(({ lease }) => lease)
      const ask = () =>
        releaseLeases(database.engine, held, { dueInMs: Math.max(0, stepOf(untilMs) - steadyNowMs()), hold })
      await askPatiently(ask, hurried)
    }
    const isLater = returns.every(({ untilMs }) => untilMs > now)
    wake.send('dispatch', isLater ? laterPayload : '')
    return returns.map(() => undefined)
  }
  const batcher = createBatcher(release, { ...batchLimits, weigh: () => 1, isItemsFault: () => false })
  const underWay = new Set<Promise<void>>()

  const giveOneBack = async (lease: HeldLease, untilMs: number, hold: string | null): Promise<void> => {
    try {
      await batcher.add({ lease, untilMs, hold })
    } finally {
      leases.drop(lease)
    }
  }
  return {
    giveBack: (given, untilMs, hold, onBack) => {
      if (given.length === 0) return
      const returned = Promise.all(given.map((lease) => giveOneBack(lease, untilMs, hold)))
      const work = returned
        .then(
          () => onBack?.(),
          (error: unknown) => {
            if (!isPassingDatabaseError(error)) onError(error as Error)
          },
        )
        .finally(() => underWay.delete(work))
      underWay.add(work)
    },
    drain: async () => {
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}
