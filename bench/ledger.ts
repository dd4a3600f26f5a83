/** The sink's book: which numbers came, how often, and when. */
import { monotonicMs } from './program.ts'

/** What came since the last `expect`. */
export interface Tally {
  /** Numbers of the expected range that came at least once. */
  distinct: number
  /** Mails whose number had come before. */
  doubled: number
  /** Mails without a number of the expected range. */
  foreign: number
  /** Of all mails, as they came (dot-stuffed, without the final dot). */
  bytes: number
  /** When the last new number came, by the monotonic clock. */
  lastAtMs: number
}

export type Ledger = ReturnType<typeof createLedger>

export function createLedger() {
  let first = 0
  let arrivals = new Float64Array(0)
  let coming = 0
  let tally: Tally = { distinct: 0, doubled: 0, foreign: 0, bytes: 0, lastAtMs: 0 }
  let complete = Promise.withResolvers<Tally>()
  let some: { count: number; came: PromiseWithResolvers<number> }[] = []
  const watched = new Map<number, (atMs: number) => void>()
  return {
    /** `coming`: how many of the numbers are to come, if not all. */
    expect: (range: { first: number; count: number; coming?: number }) => {
      first = range.first
      coming = range.coming ?? range.count
      arrivals = new Float64Array(range.count)
      tally = { distinct: 0, doubled: 0, foreign: 0, bytes: 0, lastAtMs: 0 }
      some = []
      complete = Promise.withResolvers<Tally>()
    },
    tally: () => tally,
    /** Resolves when as many mails have come as numbers are expected. */
    complete: () => complete.promise,
    /** Resolves with the time at which so many of them have come. */
    some: ({ count }: { count: number }) => {
      if (tally.distinct >= count) return tally.lastAtMs
      const came = Promise.withResolvers<number>()
      some.push({ count, came })
      return came.promise
    },
    /** When each came; 0: it did not. */
    arrivals: () => arrivals,
    /** Resolves with the time at which a number comes, or has come. */
    arrival: ({ number }: { number: number }) =>
      arrivals[number - first] || new Promise<number>((resolve) => watched.set(number, resolve)),
    enter: (number: number, bytes: number) => {
      const index = number - first
      tally.bytes += bytes
      if (!(index >= 0 && index < arrivals.length)) tally.foreign += 1
      else if (arrivals[index] !== 0) tally.doubled += 1
      else {
        tally.distinct += 1
        tally.lastAtMs = monotonicMs()
        arrivals[index] = tally.lastAtMs
        for (const { count, came } of some) if (tally.distinct >= count) came.resolve(tally.lastAtMs)
        watched.get(number)?.(tally.lastAtMs)
        watched.delete(number)
      }
      // A wrong mail ends the run as well, only not well.
      if (tally.distinct + tally.doubled + tally.foreign >= coming) complete.resolve(tally)
    },
  }
}
