/**
 * What nobody broke on purpose and no run can go on without: a store or a program that ends by itself, a full disk. It ends the run at
 * once, red, instead of leaving it to wait for what will never come; ledgers and logs stay.
 */
import { statfsSync } from 'node:fs'

export class Mishap extends Error {}

export interface Mishaps {
  /** Rejects with the first `Mishap`; never resolves. */
  readonly struck: Promise<never>
  readonly hasStruck: boolean
  strike(what: string): void
  /** From now on things end because they are told to. */
  ignore(): void
}

export function createMishaps(): Mishaps {
  const { promise, reject } = Promise.withResolvers<never>()
  // Whoever waits for it is told; it may be that nobody does any more.
  promise.catch(() => undefined)
  let [hasStruck, isIgnored] = [false, false]
  return {
    struck: promise,
    get hasStruck() {
      return hasStruck
    },
    strike: (what) => {
      if (isIgnored) return
      hasStruck = true
      reject(new Mishap(what))
    },
    ignore: () => {
      isIgnored = true
    },
  }
}

/** PostgreSQL alone writes up to a gigabyte of log ahead; below this it would soon end, and our ledgers with it. */
const leastFreeBytes = 512 * 2 ** 20
const lookEveryMs = 1_000

/** Watches the disk that holds the run's folder. @returns what ends the watching */
export function watchDisk(
  folder: string,
  { strike }: Pick<Mishaps, 'strike'>,
  freeBytes = readFreeBytes,
): () => void {
  const look = () => {
    const free = freeBytes(folder)
    if (free < leastFreeBytes) {
      const megabytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MB`
      strike(
        `the disk of ${folder} has ${megabytes(free)} left, and a run needs ${megabytes(leastFreeBytes)}`,
      )
    }
  }
  look()
  const timer = setInterval(look, lookEveryMs).unref()
  return () => clearInterval(timer)
}

function readFreeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}
