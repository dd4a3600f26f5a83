/**
 * A loop that works when it is woken or when its time has come, never twice at once, and not at all in between.
 * A wake-up during a round makes another round follow.
 */
export interface Sleeper {
  wake(): void
  /** Makes another round follow as well, but no sooner than a rest after the last one began: what several such calls are about is one round's work. */
  nudge(): void
  /** Resolves when the round under way has ended; none follows. */
  stop(): Promise<void>
}

export interface SleeperOptions {
  /** One round of work; returns after how many milliseconds the next is due at the latest. */
  round: () => Promise<number>
  onError: (error: Error) => void
  /** The pause after a round that threw, in milliseconds. */
  afterErrorMs: number
  /** From the beginning of the last round to one that is only nudged for, at least, in milliseconds; absent: 0. */
  restMs?: () => number
}

export function createSleeper({ round, onError, afterErrorMs, restMs = () => 0 }: SleeperOptions): Sleeper {
  let timer: NodeJS.Timeout | undefined
  let timerAtMs = Number.POSITIVE_INFINITY
  let running: Promise<void> | null = null
  let beganAtMs = Number.NEGATIVE_INFINITY
  let isWoken = false
  let isNudged = false
  let isStopped = false

  const run = async (): Promise<void> => {
    let pauseMs = 0
    while (isWoken && !isStopped) {
      isWoken = false
      isNudged = false
      beganAtMs = performance.now()
      try {
        pauseMs = await round()
      } catch (error) {
        onError(error as Error)
        pauseMs = afterErrorMs
        isNudged = false
        break
      }
    }
    running = null
    if (isStopped) return
    sleepUntil(performance.now() + pauseMs)
    if (isNudged) nudge()
  }
  const sleepUntil = (atMs: number) => {
    clearTimeout(timer)
    timerAtMs = atMs
    // At least a millisecond, so that a due time which is just not reached yet does not spin.
    timer = setTimeout(wake, Math.max(1, Math.ceil(atMs - performance.now())))
  }
  const wake = () => {
    if (isStopped) return
    isWoken = true
    clearTimeout(timer)
    running ??= run()
  }
  const nudge = () => {
    isNudged = true
    if (isStopped || running) return
    const atMs = beganAtMs + restMs()
    if (atMs <= performance.now()) wake()
    else if (atMs < timerAtMs) sleepUntil(atMs)
  }
  return {
    wake,
    nudge,
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}
