/**
 * Random numbers from a seed: the same seed makes the same plan of faults and the same mails. What they meet depends on time, so
 * no two runs are the same in all.
 */
import { createHash } from 'node:crypto'

export interface Random {
  /** At least 0, below 1. */
  next(): number
  /** Both ends included. */
  whole(from: number, to: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly T[]): T
  shuffled<T>(list: readonly T[]): T[]
}

/** Streams of different names have nothing to do with each other, so one more mail does not change the plan of faults. */
export function createRandom(seed: number, name: string): Random {
  let state = createHash('sha256').update(`${seed} ${name}`).digest().readUInt32LE()
  /** mulberry32, by Tommy Ettinger: 32 bits of state are plenty here. */
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))
  return {
    next,
    whole,
    chance: (probability) => next() < probability,
    pick: <T>(list: readonly T[]) => list[whole(0, list.length - 1)] as T,
    shuffled: <T>(list: readonly T[]) => {
      const result = [...list]
      for (let last = result.length - 1; last > 0; last -= 1) {
        const other = whole(0, last)
        const kept = result[last] as T
        result[last] = result[other] as T
        result[other] = kept
      }
      return result
    },
  }
}
