/**
 * A loop that works when it is woken or when its time has come, never twice at once, and not at all in between.
 * A wake-up during a round makes another round follow.
 */
export interface Sleeper {
  wake(): void
  /** Resolves when the round under way has ended; none follows. */
  stop(): Promise<void>
}

export interface SleeperOptions {
  /** One round of work; returns after how many milliseconds the next is due at the latest. */
  round: () => Promise<number>
  onError: (error: Error) => void
  /** The pause after a round that threw, in milliseconds. */
  afterErrorMs: number
}

export function createSleeper({ round, onError, afterErrorMs }: SleeperOptions): Sleeper {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | null = null
  let isWoken = false
  let isStopped = false

  const run = async (): Promise<void> => {
    let pauseMs = 0
    while (isWoken && !isStopped) {
      isWoken = false
      try {
        pauseMs = await round()
      } catch (error) {
        onError(error as Error)
        pauseMs = afterErrorMs
        break
      }
    }
    running = null
    if (isStopped) return
    // At least a millisecond, so that a due time which is just not reached yet does not spin.
    timer = setTimeout(wake, Math.max(1, Math.ceil(pauseMs)))
  }
  const wake = () => {
    if (isStopped) return
    isWoken = true
    clearTimeout(timer)
    running ??= run()
  }
  return {
    wake,
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}
