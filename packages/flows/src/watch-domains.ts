/**
 * Looks at sender domains by the clock, by any worker: daily where all is well, sooner where somebody waits for a record or a proof is
 * gone (packages/core/src/domain-policy.ts). A worker that dies in the middle leaves its domains due again after a quarter of an hour.
 */
import { claimDueDomains } from '@valija/store'
import { createSleeper } from './sleeper.ts'
import { lookAtDomain, type VerifyDesk } from './verify-domain.ts'

export interface DomainWatch {
  start(): void
  /** Resolves when the looks under way have ended. */
  stop(): Promise<void>
}

export interface DomainWatchParts extends VerifyDesk {
  onError: (error: Error) => void
}

const everyMs = 60_000
/** Looked at together: each asks some ten questions. */
const together = 8

export function createDomainWatch(parts: DomainWatchParts): DomainWatch {
  const { database, onError } = parts
  let isStopped = false
  const round = async () => {
    for (;;) {
      const due = await claimDueDomains(database.engine, together)
      if (due.length === 0 || isStopped) return everyMs
      await Promise.all(due.map(({ id, tenantId }) => lookAtDomain(parts, tenantId, id).catch(onError)))
    }
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return {
    start: () => sleeper.wake(),
    stop: () => {
      isStopped = true
      return sleeper.stop()
    },
  }
}
