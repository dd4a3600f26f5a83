import { describe, expect, test } from 'vitest'
import { createBatcher } from './batcher.ts'

const limits = { maxItems: 10, maxWeight: 100, weigh: () => 1, isItemsFault: () => true }

describe('a batch', () => {
  test('holds what arrived while the last one ran, in order, and never more than fits', async () => {
    const batches: number[][] = []
    const batcher = createBatcher<number, number>(async (items) => {
      batches.push(items)
      return items.map((item) => item * 2)
    }, limits)
    const results = await Promise.all(Array.from({ length: 25 }, (_, index) => batcher.add(index)))
    expect(results).toEqual(Array.from({ length: 25 }, (_, index) => index * 2))
    expect(batches.map((batch) => batch.length)).toEqual([10, 10, 5])
  })

  test('that fails for one item runs singly, so only that item fails', async () => {
    const batcher = createBatcher<number, number>(async (items) => {
      if (items.includes(3)) throw new Error('three')
      return items
    }, limits)
    const results = await Promise.allSettled([1, 2, 3, 4].map((item) => batcher.add(item)))
    expect(results.map((result) => result.status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
  })

  test('that fails for everybody fails once', async () => {
    let runs = 0
    const batcher = createBatcher<number, number>(
      async () => {
        runs += 1
        throw new Error('away')
      },
      { ...limits, isItemsFault: () => false },
    )
    const results = await Promise.allSettled([1, 2, 3].map((item) => batcher.add(item)))
    expect(results.every((result) => result.status === 'rejected')).toBe(true)
    expect(runs).toBe(1)
  })

  test('is drained when nothing is under way any more', async () => {
    let done = 0
    const batcher = createBatcher<number, number>(async (items) => {
      await new Promise<void>((resolve) => setImmediate(resolve))
      done += items.length
      return items
    }, limits)
    const all = Promise.all([1, 2, 3].map((item) => batcher.add(item)))
    await batcher.drain()
    expect(done).toBe(3)
    await all
  })
})
