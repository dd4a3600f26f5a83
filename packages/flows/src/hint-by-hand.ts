/**
 * Hints without a queue: while its store is away (Redis down, failing over, full), a worker takes the hints that it would give
 * to all. The dispatcher leads in one worker at a time, so that one delivers alone until the store is back: slower than all
 * together, and not standing still. What it takes is bounded as ever, by the dispatcher's window and by its leases.
 */
import { type Hint, type HintQueue, QueueAwayError } from '@valija/store'

/** What those who give hints need of a queue. */
export type HintGiver = Pick<HintQueue, 'add' | 'isUp' | 'onReconnect'>

export interface HandedQueue extends HintGiver {
  /** The store is away: what is given reaches this worker only. */
  readonly isByHand: boolean
  /** From now on it is as away as its store. */
  stop(): void
}

/**
 * @param takeHint works on one hint, as it does for the queue; resolves when its rows are leased
 */
export function createHandedQueue(
  queue: HintQueue,
  takeHint: (hint: Hint) => Promise<void>,
  onError: (error: Error) => void,
): HandedQueue {
  let isStopped = false
  return {
    add: async (hints) => {
      try {
        await queue.add(hints)
      } catch (error) {
        if (isStopped || !(error instanceof QueueAwayError)) throw error
        // Not waited for: a hint may have to wait for room. One that fails leaves its rows to the sweep.
        for (const hint of hints) takeHint(hint).catch(onError)
      }
    },
    get isUp() {
      return queue.isUp || !isStopped
    },
    get isByHand() {
      return !queue.isUp && !isStopped
    },
    onReconnect: (listener) => queue.onReconnect(listener),
    stop: () => {
      isStopped = true
    },
  }
}
