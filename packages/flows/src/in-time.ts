/**
 * Work that has so long and no longer. One timer looks at all of it: a timer for each mail that comes would be set and taken back
 * thousands of times a second, for something that hardly ever happens. It is the process's own, for nothing but the time is in it.
 */

interface Watched {
  /** By `performance.now()`. */
  endMs: number
  giveUp: () => void
}

const lookEveryMs = 100
const watched = new Set<Watched>()
let isLooking = false

function look(): void {
  const now = performance.now()
  for (const one of watched) {
    if (one.endMs > now) continue
    watched.delete(one)
    one.giveUp()
  }
  isLooking = false
  keepLooking()
}

function keepLooking(): void {
  if (isLooking || watched.size === 0) return
  isLooking = true
  setTimeout(look, lookEveryMs)
}

/**
 * Settles as `work` does, if that is in time; what it comes to later is nobody's any more.
 *
 * @param limitMs in milliseconds; it may be given a tenth of a second more
 * @param late what it rejects with beyond its time
 */
export function inTime<T>(limitMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const one = { endMs: performance.now() + limitMs, giveUp: () => reject(late()) }
    watched.add(one)
    keepLooking()
    const settled = (settle: () => void) => {
      watched.delete(one)
      settle()
    }
    work.then(
      (value) => settled(() => resolve(value)),
      (error: unknown) => settled(() => reject(error)),
    )
  })
}
