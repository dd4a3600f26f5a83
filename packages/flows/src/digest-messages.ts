/**
 * Digests of new messages, by which searches find what is rare (store/message-digests.ts): by any worker, every half minute, for the tenants that
 * have new ones. Nobody waits for it; until then a search reads the messages themselves.
 */
import { setImmediate } from 'node:timers/promises'
import type { Uuid } from '@valija/core'
import { type Database, digestNewMessages, digestsOfStep, findTenantsToDigest } from '@valija/store'
import { restAfter } from './leisure.ts'
import { pauseUnless } from './pause.ts'

const everyMs = 30_000
/** A step takes this process's thread and one of PostgreSQL's: a tenth of the time is enough for some 7,000 messages a second. */
const usualRestFactor = 9

/** @returns one round; after it the milliseconds to the next */
export function digestRounds({
  database,
  stop,
  restFactor = usualRestFactor,
}: {
  database: Database
  stop: AbortSignal
  restFactor?: number
}): () => Promise<number> {
  let from: Date | null = null
  const step = async (tenantId: Uuid): Promise<boolean> => {
    const startedAtMs = performance.now()
    const made = await digestNewMessages(database, tenantId, () => setImmediate())
    // Where there are not enough new ones it was no more than a look.
    if (made > 0) await pauseUnless(stop, restAfter(performance.now() - startedAtMs, restFactor))
    return made === digestsOfStep
  }
  return async () => {
    const { tenantIds, until } = await findTenantsToDigest(database.engine, from)
    // A tenant with much to be digested keeps no other waiting for longer than a step.
    let left: Uuid[] = tenantIds
    while (left.length > 0) {
      const unfinished: Uuid[] = []
      for (const tenantId of left) {
        if (stop.aborted) return everyMs
        if (await step(tenantId)) unfinished.push(tenantId)
      }
      left = unfinished
    }
    from = until
    return everyMs
  }
}
