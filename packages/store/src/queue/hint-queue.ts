/**
 * The queue's port: what Valija wants from a queue, whichever store is behind it.
 *
 * A queue carries hints, never truth. A hint names deliveries that may be due; the worker that takes it asks PostgreSQL
 * which of them are, leases those and works. So a lost hint costs time (the sweep finds the rows), and a doubled one
 * costs a query. Nothing here may be relied on for more than that: no order, no exactly-once, no retries.
 *
 * Two implementations pass one suite (queue.conformance.db.test.ts): postgres-queue.ts and redis-queue.ts.
 */

/** One job: the ids of deliveries (recipients' UUIDs) to look at. */
export interface Hint {
  ids: string[]
}

export interface HintQueue {
  readonly backend: 'postgres' | 'redis'
  /**
   * Enqueues. Rejects within ADD_DEADLINE_MS with a `QueueAwayError` when the store is away: the rows stay in
   * PostgreSQL and the sweep finds them. A rejected hint can still arrive, when only the answer was late.
   */
  add(hints: readonly Hint[]): Promise<void>
  /**
   * Starts to work. A hint leaves the queue when its handler ends, however it ends; what a handler throws goes to
   * `onError`. Waits for a store that is away, and goes on when it is back.
   */
  work(handler: HintHandler, options: HintWorkerOptions): HintWorker
  /** Hints enqueued and not yet taken. */
  depth(): Promise<number>
  /** The epoch kept in the queue's store; null when it is missing: the store lost its data, and hints with it. */
  readEpoch(): Promise<string | null>
  writeEpoch(epoch: string): Promise<void>
  /** Whether the store answered when last heard of. */
  readonly isUp: boolean
  /** Why it is not up; null when it is. */
  readonly lastError: Error | null
  /** Why it may lose hints although it answers; null when it keeps them. Mail is only late by it, so it is no reason to stop. */
  readonly warning: string | null
  /** Called each time the store is back after it was away; its data may be gone, so this is when to read the epoch. */
  onReconnect(listener: () => void): void
  /** Ends the connections. Close the workers first. */
  close(): Promise<void>
}

export type HintHandler = (hint: Hint) => Promise<void>

export interface HintWorkerOptions {
  /** Handlers that may run at once in this worker. */
  concurrency: number
  onError: (error: Error) => void
}

export interface HintWorker {
  /**
   * Starts anew on fresh connections, unless a hint was taken within the last `idleMs` or a handler runs: whoever calls this
   * knows that hints wait. Handlers go on, and a hint that was on its way to the old connections is lost, as hints may be.
   *
   * @returns whether it did
   */
  restartIfIdle(idleMs: number): boolean
  /** Takes no more hints and resolves when the running handlers have ended. */
  close(): Promise<void>
}

/** How long `add` waits for the store, in ms. An accepted mail must not wait for a queue that is only a hint. */
export const ADD_DEADLINE_MS = 1_000

/** The queue's store does not answer. Nothing is lost: the sweep enqueues the rows again. */
export class QueueAwayError extends Error {
  readonly code = 'queue_away'

  constructor(why: Error) {
    super(`the queue's store does not answer: ${why.message}`, { cause: why })
    this.name = 'QueueAwayError'
  }
}
