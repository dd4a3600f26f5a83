/**
 * What was too much for one statement, done in ever smaller pieces, beside whatever comes after it: a piece that fails is halved, down to
 * the single item that is to blame, and all others are through. That one is tried again for as long as it takes, behind all other
 * pieces each time.
 */
import { setTimeout as delay } from 'node:timers/promises'

export interface Piecemeal<Item, Result> {
  /** Items that were tried together, in vain. Each resolves as its piece does, or rejects with what it was given up for. */
  add(items: readonly Item[]): Promise<Result>[]
}

export interface PiecemealRules {
  /** Called for each piece that failed, with how many items it has. A single one is not halved. */
  judge: (error: Error, count: number) => 'halve' | 'again' | 'give_up'
  /** Before anything is tried after a piece that is to be tried again. */
  pauseMs: number
}

interface Entry<Item, Result> {
  item: Item
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/** @param run gives a result per item, in order */
export function createPiecemeal<Item, Result>(
  run: (items: Item[]) => Promise<Result[]>,
  { judge, pauseMs }: PiecemealRules,
): Piecemeal<Item, Result> {
  type Piece = Entry<Item, Result>[]
  const pieces: Piece[] = []
  let isRunning = false

  const runOne = async (piece: Piece): Promise<void> => {
    try {
      const results = await run(piece.map(({ item }) => item))
      piece.forEach(({ resolve }, i) => {
        resolve(results[i]!)
      })
    } catch (error) {
      const verdict = judge(error as Error, piece.length)
      if (verdict === 'give_up') for (const { reject } of piece) reject(error)
      else pieces.push(...(verdict === 'halve' ? halve(piece) : [piece]))
      if (verdict === 'again') await delay(pauseMs)
    }
  }
  const runAll = async () => {
    if (isRunning) return
    isRunning = true
    for (let piece = pieces.shift(); piece; piece = pieces.shift()) await runOne(piece)
    isRunning = false
  }
  return {
    add: (items) => {
      const entries = items.map((item) => ({ item, ...Promise.withResolvers<Result>() }))
      pieces.push(...halve(entries))
      void runAll()
      return entries.map(({ promise }) => promise)
    },
  }
}

function halve<T>(items: readonly T[]): T[][] {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)].filter((half) => half.length > 0)
}
