/**
 * Works off what is to be erased (erase-person.ts), by any worker: when it is woken, when something is due again, and twice a minute besides. Step by step,
 * each a short transaction (store/erase-recipients.ts), the erasures in turn, so that one that takes long keeps no other waiting.
 */
import type { Database, Wake } from '@valija/store'
import { findDueErasures, type PendingErasure, stepErasure } from '@valija/store'
import { type ErasureDesk, stopMails } from './erase-person.ts'

const everyMs = 30_000

export interface ErasureRoundParts extends Omit<ErasureDesk, 'sealer'> {
  database: Database
  wake: Pick<Wake, 'send'>
  isStopped: () => boolean
}

/** @returns one round; after it the milliseconds to the next */
export function erasureRounds(parts: ErasureRoundParts): () => Promise<number> {
  return async () => {
    const { due, nextInMs } = await findDueErasures(parts.database.engine)
    // Mails that came back from workers, or were not stopped when they should have been.
    for (const erasure of due) if (!parts.isStopped()) await stopMails(parts, erasure, [])
    let left: PendingErasure[] = due
    let isWaiting = false
    while (left.length > 0) {
      const unfinished: PendingErasure[] = []
      for (const erasure of left) {
        if (parts.isStopped()) return everyMs
        const progress = await stepErasure(parts.database, erasure.id)
        if (progress === 'more') unfinished.push(erasure)
        if (progress === 'waiting') isWaiting = true
      }
      left = unfinished
    }
    return Math.min(everyMs, isWaiting ? soonMs : everyMs, nextInMs ?? everyMs)
  }
}

/** What is being sent this moment has its end soon. */
const soonMs = 2_000
