/**
 * Whether the queue's store is there, kept by those who talk to it.
 *
 * Whoever sees a command fail calls `markDown`; from then on a probe asks every PROBE_INTERVAL_MS until the store answers.
 * While it is up nothing is asked, so an idle process stays idle. An outage is reported once, not once per attempt.
 */

/** How often a store that is away is asked, in ms: short against the 15 s sweep, long against the cost of a connect. */
const PROBE_INTERVAL_MS = 250

/** A probe with no answer for this long (a stopped process, a dead route) counts as failed, in ms. */
const PROBE_DEADLINE_MS = 1_000

export interface StoreStatus {
  readonly isUp: boolean
  /** Why it is down; null when it is up. */
  readonly lastError: Error | null
  markDown(error: Error): void
  /** Asks at once instead of at the next interval: there is a sign that the store may be back. */
  probeNow(): void
  /** Resolves at once when up, else when the store is back; rejects when the status is closed. */
  whenUp(): Promise<void>
  onReconnect(listener: () => void): void
  close(): void
}

/**
 * Settles like `promise`, or rejects with `late()` after deadlineMs; the late promise's own end is then ignored. Where this process
 * stood still for as long, the answer may lie there unread: it is read before the deadline counts.
 */
export async function withDeadline<T>(
  promise: Promise<T>,
  deadlineMs: number,
  late: () => Error,
): Promise<T> {
  const { promise: timedOut, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => setImmediate(() => reject(late())), deadlineMs)
  try {
    return await Promise.race([promise, timedOut])
  } finally {
    clearTimeout(timer)
  }
}

function createPause(ms: number): { pass(): Promise<void>; cut(): void } {
  let cut = () => {}
  return {
    pass: async () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, ms)
      cut = resolve
      await promise
      clearTimeout(timer)
    },
    cut: () => cut(),
  }
}

const closedError = () => new Error('the queue is closed')

/**
 * Starts as down with `reason` and probes at once; or as up, with null.
 * `probe` rejects while the store is not usable; `onDown` gets one error for each outage. That a start takes a while is none: as long
 * as the probe rejects with `reason` itself, nothing is told.
 */
export function watchStore(
  probe: () => Promise<void>,
  onDown: (error: Error) => void,
  reason: Error | null,
): StoreStatus {
  const listeners: (() => void)[] = []
  let isClosed = false
  let lastError = reason
  let isTold = false
  let back = Promise.withResolvers<void>()
  back.promise.catch(() => {}) // nobody has to be waiting when it is closed

  const interval = createPause(PROBE_INTERVAL_MS)
  const learn = (error: Error) => {
    lastError = error
    if (isTold || isClosed || error === reason) return
    isTold = true
    onDown(error)
  }

  const probeUntilUp = async () => {
    while (!isClosed) {
      try {
        await withDeadline(probe(), PROBE_DEADLINE_MS, () => new Error('no answer to a probe'))
        break
      } catch (error) {
        learn(error as Error)
      }
      await interval.pass()
    }
    if (isClosed) return
    lastError = null
    isTold = false
    back.resolve()
    for (const listener of listeners) listener()
  }
  if (reason) void probeUntilUp()
  else back.resolve()

  return {
    get isUp() {
      return lastError === null && !isClosed
    },
    get lastError() {
      return lastError
    },
    markDown(error) {
      if (isClosed || isTold) return
      const wasUp = lastError === null
      if (wasUp) {
        back = Promise.withResolvers<void>()
        back.promise.catch(() => {})
      }
      learn(error)
      if (wasUp) void probeUntilUp()
    },
    whenUp: () => (isClosed ? Promise.reject(closedError()) : back.promise),
    probeNow: () => interval.cut(),
    onReconnect: (listener) => void listeners.push(listener),
    close() {
      isClosed = true
      interval.cut()
      back.reject(closedError())
    },
  }
}
