/**
 * Answers of the DNS by their time to live: the least recently used go first when there are too many, or when they are too large
 * together, since whoever owns a domain decides how large its answers are.
 */

export interface AnswerCache<V> {
  get(key: string): V | undefined
  /** @param ttlMs 0 keeps nothing */
  put(key: string, value: V, ttlMs: number, sizeBytes: number): void
}

export interface AnswerCacheLimits {
  entries: number
  bytes: number
}

interface Entry<V> {
  value: V
  until: number
  sizeBytes: number
}

/** @param now monotonic, in milliseconds */
export function createAnswerCache<V>(limits: AnswerCacheLimits, now: () => number): AnswerCache<V> {
  /** In order of their last use. */
  const entries = new Map<string, Entry<V>>()
  let bytes = 0

  function drop(key: string, entry: Entry<V>): void {
    entries.delete(key)
    bytes -= entry.sizeBytes
  }

  return {
    get(key) {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      if (entry.until <= now()) {
        drop(key, entry)
        return undefined
      }
      entries.delete(key)
      entries.set(key, entry)
      return entry.value
    },
    put(key, value, ttlMs, sizeBytes) {
      const old = entries.get(key)
      if (old !== undefined) drop(key, old)
      if (ttlMs <= 0) return
      entries.set(key, { value, until: now() + ttlMs, sizeBytes })
      bytes += sizeBytes
      for (const [first, entry] of entries) {
        if (entries.size <= limits.entries && bytes <= limits.bytes) break
        drop(first, entry)
      }
    },
  }
}
