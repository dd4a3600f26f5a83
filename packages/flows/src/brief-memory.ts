/**
 * Answers that are asked for again and again and change seldom, remembered for a moment: keys, tenants, sender domains.
 */

/** How long, in milliseconds: a revocation that no wake-up told of still works within 2 s (DESIGN 4.26). */
const briefly = { positiveMs: 2_000, negativeMs: 1_000 }

/** Remembers answers for a moment. */
export interface BriefMemory<T> {
  /** Concurrent questions about one key become one. What `ask` throws is thrown to all who wait and not remembered. */
  get(key: string): Promise<T | null>
  forget(isMeant: (key: string, value: T | null) => boolean): void
}

/**
 * Remembers what `ask` answers for 2 s, and for 1 s when it answers null (DESIGN 4.26), unless other times are given.
 *
 * @param size answers of each of the two kinds at once; the oldest goes first
 */
export function createBriefMemory<T>(
  size: number,
  ask: (key: string) => Promise<T | null>,
  { positiveMs, negativeMs } = briefly,
): BriefMemory<T> {
  const known = new Map<string, { value: T | null; untilMs: number }>()
  const unknown: typeof known = new Map()
  const asked = new Map<string, Promise<T | null>>()

  const remember = (key: string, value: T | null) => {
    const [map, other, forMs] = value === null ? [unknown, known, negativeMs] : [known, unknown, positiveMs]
    other.delete(key)
    map.delete(key)
    map.set(key, { value, untilMs: performance.now() + forMs })
    const oldest = map.size > size ? map.keys().next() : null
    if (oldest && !oldest.done) map.delete(oldest.value)
  }
  const askNow = (key: string): Promise<T | null> => {
    // Not remembered when it was forgotten meanwhile: the answer may be older than the change.
    const answer: Promise<T | null> = ask(key)
      .then((value) => {
        if (asked.get(key) === answer) remember(key, value)
        return value
      })
      .finally(() => {
        if (asked.get(key) === answer) asked.delete(key)
      })
    asked.set(key, answer)
    return answer
  }
  return {
    get: async (key) => {
      const entry = known.get(key) ?? unknown.get(key)
      if (entry && entry.untilMs > performance.now()) return entry.value
      return asked.get(key) ?? askNow(key)
    },
    forget: (isMeant) => {
      for (const map of [known, unknown]) {
        for (const [key, { value }] of map) if (isMeant(key, value)) map.delete(key)
      }
      // Whom an open question is about is not known yet.
      asked.clear()
    },
  }
}
