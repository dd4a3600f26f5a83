/**
 * Digests of new messages, by which searches find what is rare (store/message-digests.ts): by any worker, every half minute, for the tenants that
 * have new ones. Nobody waits for it; until then a search reads the messages themselves.
 */
import { setImmediate } from 'node:timers/promises'
import type { Uuid } from '@valija/core'
import { type Database, digestNewMessages, findTenantsToDigest } from '@valija/store'

const everyMs = 30_000

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
        if (await digestNewMessages(database, tenantId, () => setImmediate())) unfinished.push(tenantId)
      }
      left = unfinished
    }
    from = until
    return everyMs
  }
}
