/**
 * Marks before final dots, for mails of which no second copy may be sent blindly: should this process end before the reply is
 * settled, whoever leases the mail next knows that it may have gone (DESIGN 4.5). Others' mail pays nothing for it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Database, isPassingDatabaseError, markDots } from '@valija/store'
import { createBatcher } from './batcher.ts'
import type { HeldLease, HeldLeases } from './held-leases.ts'

export interface DotMarks {
  /**
   * Resolves when the mark is committed, or the lease is found to be over, which forbids the dot. Never rejects: while
   * PostgreSQL is away it is asked again for as long as the lease holds.
   */
  set(lease: HeldLease): Promise<void>
}

const batchLimits = { maxItems: 100, maxWeight: 100 }
const awayPauseMs = 250

export function createDotMarks(
  database: Database,
  leases: Pick<HeldLeases, 'isValid'>,
  onError: (error: Error) => void,
): DotMarks {
  const batcher = createBatcher(
    async (asked: HeldLease[]) => {
      const marked = await markDots(database.engine, asked)
      return asked.map(({ recipientId }) => marked.has(recipientId))
    },
    { ...batchLimits, weigh: () => 1, isItemsFault: () => false },
  )
  return {
    set: async (lease) => {
      lease.isEnding = leases.isValid(lease)
      while (leases.isValid(lease)) {
        try {
          if (!(await batcher.add(lease))) lease.validUntilMs = 0
          return
        } catch (error) {
          if (!isPassingDatabaseError(error)) onError(error as Error)
          await delay(awayPauseMs)
        }
      }
    },
  }
}
