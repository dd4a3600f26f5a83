/**
 * Digests of new messages, by which searches find what is rare (store/message-digests.ts): by any worker, every half minute, for the tenants that
 * have new ones. Nobody waits for it; until then a search reads the messages themselves.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import type { Uuid } from '@valija/core'
import { type Database, digestNewMessages, findTenantsToDigest } from '@valija/store'

const everyMs = 30_000
/** So many times as long as a step took is left to the mail: a step takes this process’s thread. Some 7,000 messages a second are digested so. */
const restFactor = 9

/** @returns one round; after it the milliseconds to the next */
export function digestRounds({
  database,
  isStopped,
}: {
  database: Database
  isStopped: () => boolean
}): () => Promise<number> {
  let from: Date | null = null
  return async () => {
    const { tenantIds, until } = await findTenantsToDigest(database.engine, from)
    // A tenant with much to be digested keeps no other waiting.
    let left: Uuid[] = tenantIds
    while (left.length > 0) {
      const unfinished: Uuid[] = []
      for (const tenantId of left) {
        if (isStopped()) return everyMs
        const startedAtMs = performance.now()
        const isUnfinished = await digestNewMessages(database, tenantId, () => setImmediate())
        if (!isUnfinished) continue
        unfinished.push(tenantId)
        await delay((performance.now() - startedAtMs) * restFactor)
      }
      left = unfinished
    }
    from = until
    return everyMs
  }
}
