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
  /** How much may wait; absent: all that comes, for as long as it takes. */
  line?: LineLimits<Item>
}

export interface LineLimits<Item> {
  /** One more is refused. */
  maxItems: number
  /** By `performance.now()`: what has not begun by then is refused, and never begun: its client is told so, or has given up. The same for an item each time. */
  beginByMs: (item: Item) => number
  /** What a refused item is rejected with. */
  refuse: (why: 'full' | 'late') => Error
}

interface Waiting<Item, Result> {
  item: Item
  resolve: (result: Result | Promise<Result>) => void
  reject: (error: unknown) => void
}

/** @param run gives a result per item, in order; one that is only promised keeps no other batch waiting */
export function createBatcher<Item, Result>(
  run: (items: Item[]) => Promise<readonly (Result | Promise<Result>)[]>,
  limits: BatchLimits<Item>,
): Batcher<Item, Result> {
  const waiting = createLine<Item, Result>(limits)
  let running: Promise<void> | null = null

  const runOne = async (batch: Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await run(batch.map((entry) => entry.item))
      batch.forEach((entry, index) => {
        entry.resolve(results[index]!)
      })
    } catch (error) {
      if (batch.length > 1 && limits.isItemsFault(error)) for (const entry of batch) await runAlone(entry)
      else for (const entry of batch) entry.reject(error)
    }
  }
  const runAlone = async (entry: Waiting<Item, Result>): Promise<void> => {
    if (!waiting.isRefused(entry)) await runOne([entry])
  }
  const runAll = async (): Promise<void> => {
    // One turn of the event loop: requests that were read together go together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    for (let batch = waiting.take(); batch.length > 0; batch = waiting.take()) await runOne(batch)
    running = null
  }
  return {
    add: (item) =>
      new Promise<Result>((resolve, reject) => {
        if (waiting.push({ item, resolve, reject })) running ??= runAll()
      }),
    drain: async () => {
      while (running) await running
    },
  }
}

/** Its timer need not be more exact than this: a line whose next is late all the time is not looked through more often. */
const lookEveryMs = 20

/** What waits for its batch; what is late leaves it, refused. */
function createLine<Item, Result>(limits: BatchLimits<Item>) {
  type Entry = Waiting<Item, Result>
  const { line } = limits
  let entries: Entry[] = []
  let timer: NodeJS.Timeout | undefined
  let timerAtMs = Number.POSITIVE_INFINITY

  const isRefused = ({ item, reject }: Entry): boolean => {
    if (!line || line.beginByMs(item) > performance.now()) return false
    reject(line.refuse('late'))
    return true
  }
  const refuseLate = () => {
    entries = entries.filter((entry) => !isRefused(entry))
  }
  const lookBy = (atMs: number) => {
    if (atMs >= timerAtMs) return
    clearTimeout(timer)
    timerAtMs = atMs
    timer = setTimeout(look, Math.max(lookEveryMs, Math.ceil(atMs - performance.now())))
  }
  const look = () => {
    timerAtMs = Number.POSITIVE_INFINITY
    refuseLate()
    if (line && entries.length > 0) lookBy(Math.min(...entries.map(({ item }) => line.beginByMs(item))))
  }
  return {
    /** Refuses the entry if it is late, and tells. */
    isRefused,
    /** False when it is refused, since the line is full. */
    push: (entry: Entry): boolean => {
      if (line && entries.length >= line.maxItems) {
        entry.reject(line.refuse('full'))
        return false
      }
      entries.push(entry)
      if (line) lookBy(line.beginByMs(entry.item))
      return true
    },
    /** The next batch; empty when nothing waits. */
    take: (): Entry[] => {
      refuseLate()
      return entries.splice(0, countThatFit(entries, limits))
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
