/**
 * One timer at the earliest of the times it was given: whoever sleeps until something comes due sets it as often as they like.
 */

export interface WakeTimer {
  /** Wakes in `inMs` milliseconds at the latest; under 24 days, which is all that setTimeout knows. */
  arm(inMs: number): void
  disarm(): void
}

export function createWakeTimer(onTime: () => void): WakeTimer {
  let timeout: NodeJS.Timeout | undefined
  let atMs = Infinity
  return {
    arm: (inMs) => {
      const nextMs = performance.now() + inMs
      if (nextMs >= atMs) return
      clearTimeout(timeout)
      atMs = nextMs
      timeout = setTimeout(() => {
        atMs = Infinity
        onTime()
      }, inMs)
    },
    disarm: () => {
      clearTimeout(timeout)
      atMs = Infinity
    },
  }
}
