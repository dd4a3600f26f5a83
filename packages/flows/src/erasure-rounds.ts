/**
 * Works off what is to be erased (erase-person.ts), by any worker: when it is woken, when something is due again, and twice a minute besides. Step by step,
 * each a short transaction (store/erase-recipients.ts), the erasures in turn, those that are asked for meanwhile among them: one that takes long
 * keeps no other waiting, and neither does one that fails.
 */
import { erasurePurpose, formatId, hiddenKey, type Sealer, type Uuid } from '@valija/core'
import {
  type ErasureProgress,
  findDueErasures,
  type PendingErasure,
  postponeErasure,
  stepErasure,
} from '@valija/store'
import { type ErasureParts, stopMails } from './erase-person.ts'

const everyMs = 30_000

export interface ErasureRoundParts extends ErasureParts {
  sealer: Pick<Sealer, 'signingKeys'>
  isStopped: () => boolean
  /** Told of an erasure that failed; it is tried again, after pauses that grow. */
  onError: (error: Error) => void
}

/** @returns one round; after it the milliseconds to the next */
export function erasureRounds(parts: ErasureRoundParts): () => Promise<number> {
  return async () => {
    const begun = new Set<Uuid>()
    const others = new Set<Uuid>()
    const untilMs = performance.now() + everyMs
    while (performance.now() < untilMs) {
      const { due, nextInMs } = await findDueErasures(parts.database.engine)
      const ours = due.filter(({ id }) => !others.has(id))
      if (ours.length === 0) return Math.min(everyMs, nextInMs ?? everyMs)
      for (const erasure of ours) {
        if (parts.isStopped()) return everyMs
        const progress = await takeStep(parts, erasure, begun)
        if (progress !== 'more') begun.delete(erasure.id)
        // Another worker is at it.
        if (progress === 'gone') others.add(erasure.id)
      }
    }
    return 0
  }
}

/** @param begun those whose mails were looked for since they were due */
async function takeStep(
  parts: ErasureRoundParts,
  erasure: PendingErasure,
  begun: Set<Uuid>,
): Promise<ErasureProgress | 'failed'> {
  const { engine } = parts.database
  const { id } = erasure
  try {
    // Mails that came back from workers, or were not stopped when they should have been.
    if (!begun.has(id)) await stopMails(parts, erasure)
    begun.add(id)
    const [signingKey] = parts.sealer.signingKeys(erasurePurpose)
    return await stepErasure(parts.database, id, (tenantId, key) => hiddenKey(signingKey!, tenantId, key))
  } catch (error) {
    parts.onError(new Error(`the erasure ${formatId('erasure', id)} failed`, { cause: error }))
    await postponeErasure(engine, id)
    return 'failed'
  }
}
