import { describe, expect, onTestFinished, test, vi } from 'vitest'
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

describe('a line with limits', () => {
  const line = { maxItems: 10, refuse: (why: string) => new Error(why) }

  test('refuses what comes when it is full, and what has waited too long; what has begun is left to its end', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const lateMs = performance.now() + 300
    const gate = Promise.withResolvers<void>()
    const batcher = createBatcher<number, number>(
      async (items) => {
        await gate.promise
        return items
      },
      { ...limits, maxItems: 1, line: { ...line, maxItems: 2, beginByMs: () => lateMs } },
    )
    const begun = batcher.add(1)
    await new Promise<void>((resolve) => setImmediate(resolve))
    const [second, third] = [batcher.add(2), batcher.add(3)]
    await expect(batcher.add(4)).rejects.toThrow('full')
    const refusals = Promise.all([
      expect(second).rejects.toThrow('late'),
      expect(third).rejects.toThrow('late'),
    ])
    await vi.advanceTimersByTimeAsync(300)
    await refusals
    gate.resolve()
    expect(await begun).toBe(1)
  })

  test('never begins what is late, whoever stands before it, and also when a batch is run singly', async () => {
    let nowMs = 0
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
    onTestFinished(() => void vi.restoreAllMocks())
    const begun: number[][] = []
    const batcher = createBatcher<number, number>(
      async (items) => {
        begun.push(items)
        if (items.length > 1) {
          // The process was busy until the second one's time was over.
          nowMs = 310
          throw new Error('one is to blame')
        }
        return items
      },
      {
        ...limits,
        line: { ...line, beginByMs: (item) => [1_000_000, 1_000_000, 300, -1][item]! },
      },
    )
    const results = await Promise.allSettled([0, 1, 2, 3].map((item) => batcher.add(item)))
    expect(begun).toEqual([[0, 1, 2], [0], [1]])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected'])
  })
})
