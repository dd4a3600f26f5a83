import { expect, test } from 'vitest'
import { createPiecemeal } from './piecemeal.ts'

const slow = new Error('too slow')
const refused = new Error('refused')
const rules = {
  judge: (error: Error, count: number) =>
    error === refused ? 'give_up' : count > 1 ? ('halve' as const) : ('again' as const),
  pauseMs: 1,
} as const
const hundred = Array.from({ length: 100 }, (_, i) => i)

test('of a hundred items one takes too long: all others are through in few pieces, and it is as soon as it can be', async () => {
  const runs: number[][] = []
  let isRepaired = false
  const pieces = createPiecemeal<number, number>(async (items) => {
    runs.push(items)
    if (items.includes(17) && !isRepaired) throw slow
    return items.map((item) => item * 2)
  }, rules)
  const results = pieces.add(hundred)
  const others = results.filter((_, i) => i !== 17)
  expect(await Promise.all(others)).toEqual(hundred.filter((i) => i !== 17).map((i) => i * 2))
  expect(runs.length).toBeLessThan(20)
  isRepaired = true
  expect(await results[17]).toBe(34)
})

test('one that takes too long is tried again behind what has come since', async () => {
  const runs: number[][] = []
  let [tries, later] = [0, [] as Promise<number>[]]
  const pieces: ReturnType<typeof createPiecemeal<number, number>> = createPiecemeal(async (items) => {
    runs.push(items)
    if (items.includes(1) && tries++ < 2) {
      if (tries === 1) later = pieces.add([2, 3])
      throw slow
    }
    return items
  }, rules)
  await Promise.all(pieces.add([1]))
  await Promise.all(later)
  expect(runs).toEqual([[1], [2], [3], [1], [1]])
})

test('what is given up fails, and what comes after it does not', async () => {
  const pieces = createPiecemeal<number, number>(async (items) => {
    if (items.includes(2)) throw refused
    return items
  }, rules)
  const results = await Promise.allSettled([...pieces.add([1, 2]), ...pieces.add([3])])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
})
