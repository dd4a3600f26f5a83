/**
 * Looks at sender domains by the clock, by any worker: daily where all is well, sooner where somebody waits for a record or a proof is
 * gone (packages/core/src/domain-policy.ts). A worker that dies in the middle leaves its domains due again after a quarter of an hour.
 *
 * Tenants take turns: thousands of domains on a name server that never answers delay their own tenant's and nobody else's.
 */
import type { Uuid } from '@valija/core'
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
/** Of one tenant. */
const togetherOfTenant = 2

export function createDomainWatch(parts: DomainWatchParts): DomainWatch {
  const { database, onError } = parts
  let isStopped = false
  const looks = new Map<Promise<unknown>, Uuid>()
  /** Who had a turn since all had one. */
  const served = new Set<Uuid>()

  const begin = (tenantId: Uuid, id: Uuid) => {
    served.add(tenantId)
    const look = lookAtDomain(parts, tenantId, id)
      .catch(onError)
      .finally(() => looks.delete(look))
    looks.set(look, tenantId)
  }
  const claim = async () => {
    const count = together - looks.size
    if (count === 0 || isStopped) return []
    const underWay = [...looks.values()]
    const full = underWay.filter(
      (tenantId) => underWay.filter((other) => other === tenantId).length >= togetherOfTenant,
    )
    const due = await claimDueDomains(database.engine, count, [...full, ...served])
    if (due.length > 0 || served.size === 0) return due
    served.clear()
    return claimDueDomains(database.engine, count, full)
  }
  const round = async () => {
    for (;;) {
      const due = await claim()
      for (const { id, tenantId } of due) begin(tenantId, id)
      if (due.length > 0) continue
      if (looks.size === 0) return everyMs
      await Promise.race(looks.keys())
    }
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: everyMs })
  return {
    start: () => sleeper.wake(),
    stop: async () => {
      isStopped = true
      await sleeper.stop()
      await Promise.all(looks.keys())
    },
  }
}
