/**
 * Hinting admitted rows to the workers (DESIGN 4.1 to 4.3): one job is a batch of delivery ids. When the queue's store is away
 * the rows go back to waiting, and the dispatcher finds them (hint-by-hand.ts).
 */
import type { Uuid } from '@valija/core'
import { type Database, QueueAwayError, readmit, type Wake } from '@valija/store'
import type { HintGiver } from './hint-by-hand.ts'

export interface Admission {
  /** Gives hints for rows that are admitted already. Never throws, never blocks the caller. */
  hint(recipientIds: readonly Uuid[]): void
  wakeDispatcher(): void
  /** Resolves when every hint under way was given. */
  drain(): Promise<void>
}

export interface AdmissionDependencies {
  database: Database
  queue: Pick<HintGiver, 'add'>
  wake: Wake
  onError: (error: Error) => void
}

/** Rows in one hint: enough to make the queue's cost per mail vanish, few enough to spread over workers. */
const rowsPerHint = 32

export function createAdmission({ database, queue, wake, onError }: AdmissionDependencies): Admission {
  const underWay = new Set<Promise<void>>()

  const give = async (recipientIds: readonly Uuid[]): Promise<void> => {
    try {
      await queue.add(inHints(recipientIds))
    } catch (error) {
      // The queue itself has told once that its store is away.
      if (!(error instanceof QueueAwayError)) onError(error as Error)
      // Left admitted they would be found by the sweep as well, only later.
      await readmit(database.engine, recipientIds).then(() => wake.send('dispatch'), onError)
    }
  }
  return {
    hint: (recipientIds) => {
      if (recipientIds.length === 0) return
      const work = give(recipientIds).finally(() => underWay.delete(work))
      underWay.add(work)
    },
    wakeDispatcher: () => wake.send('dispatch'),
    drain: async () => {
      await Promise.all(underWay)
    },
  }
}

function inHints(recipientIds: readonly Uuid[]): { ids: Uuid[] }[] {
  const hints: { ids: Uuid[] }[] = []
  for (let start = 0; start < recipientIds.length; start += rowsPerHint) {
    hints.push({ ids: recipientIds.slice(start, start + rowsPerHint) })
  }
  return hints
}
