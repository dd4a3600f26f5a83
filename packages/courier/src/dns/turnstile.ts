/** Lets so many in at once; the others wait in order, each for so long. */

export interface Turnstile {
  /** The way out, to be called once; null when no place became free in time. */
  enter(timeoutMs: number): Promise<(() => void) | null>
}

export function createTurnstile(places: number): Turnstile {
  let inside = 0
  const waiting = new Set<() => void>()
  const leave = () => {
    const [first] = waiting
    if (first === undefined) inside -= 1
    else first()
  }
  return {
    enter(timeoutMs) {
      if (inside < places) {
        inside += 1
        return Promise.resolve(leave)
      }
      const { promise, resolve } = Promise.withResolvers<(() => void) | null>()
      const settle = (way: (() => void) | null) => {
        clearTimeout(timer)
        waiting.delete(admit)
        resolve(way)
      }
      const admit = () => settle(leave)
      const timer = setTimeout(() => settle(null), timeoutMs)
      waiting.add(admit)
      return promise
    },
  }
}
