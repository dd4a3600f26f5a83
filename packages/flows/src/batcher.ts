/**
 * Batches that form by themselves: what arrives while the last batch runs goes with the next. No timer, so an idle system
 * answers at once and a busy one shares its commits.
 */

export interface Batcher<Item, Result> {
  /** Resolves with this item's result; rejects with what its batch, or its own run, threw. */
  add(item: Item): Promise<Result>
  /** Resolves when nothing is under way. */
  drain(): Promise<void>
}

export interface BatchLimits<Item> {
  /** Items in one batch at most. */
  maxItems: number
  /** Weight of one batch at most; an item heavier than this goes alone. */
  maxWeight: number
  weigh: (item: Item) => number
  /** Whether a failed batch is worth running item by item, because one of them may be to blame. */
  isItemsFault: (error: unknown) => boolean
}

interface Waiting<Item, Result> {
  item: Item
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

/** @param run gives a result per item, in order */
export function createBatcher<Item, Result>(
  run: (items: Item[]) => Promise<Result[]>,
  limits: BatchLimits<Item>,
): Batcher<Item, Result> {
  let waiting: Waiting<Item, Result>[] = []
  let running: Promise<void> | null = null

  const runOne = async (batch: Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await run(batch.map((entry) => entry.item))
      batch.forEach((entry, index) => {
        entry.resolve(results[index]!)
      })
    } catch (error) {
      if (batch.length > 1 && limits.isItemsFault(error)) for (const entry of batch) await runOne([entry])
      else for (const entry of batch) entry.reject(error)
    }
  }
  const runAll = async (): Promise<void> => {
    // One turn of the event loop: requests that were read together go together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (waiting.length > 0) {
      const count = countThatFit(waiting, limits)
      const batch = waiting.slice(0, count)
      waiting = waiting.slice(count)
      await runOne(batch)
    }
    running = null
  }
  return {
    add: (item) =>
      new Promise<Result>((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        running ??= runAll()
      }),
    drain: async () => {
      while (running) await running
    },
  }
}

function countThatFit<Item, Result>(
  waiting: readonly Waiting<Item, Result>[],
  limits: BatchLimits<Item>,
): number {
  let weight = 0
  let count = 0
  for (const { item } of waiting) {
    weight += limits.weigh(item)
    if (count > 0 && (weight > limits.maxWeight || count >= limits.maxItems)) break
    count += 1
  }
  return count
}
