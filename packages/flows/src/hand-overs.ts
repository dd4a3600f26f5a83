/**
 * Mails that are being handed over, from the final dot on, or have been and are not on record yet: what a `kill -9` of this process
 * doubles, for SMTP cannot ask (DESIGN 4.5). There are never more of them than conversations may be under way: while PostgreSQL
 * commits slowly, or is away, the next final dot waits, for as long as its lease holds. When commits are quick nobody waits.
 */
export interface HandOvers {
  /** For one mail's turn on a session. */
  begin(): HandOver
}

export interface HandOver {
  /** Resolves when the final dot may go, or it was left meanwhile. */
  enter(): Promise<void>
  /** The mail was not handed over after all, or its result is on record. May be called at any time, and twice. */
  leave(): void
}

/** @param most at the same time */
export function createHandOvers(most: number): HandOvers {
  const open = new Set<HandOver>()
  /** In the order in which they came. */
  const waiting = new Map<HandOver, () => void>()

  const admit = () => {
    for (const [handOver, resolve] of waiting) {
      if (open.size >= most) return
      waiting.delete(handOver)
      open.add(handOver)
      resolve()
    }
  }
  return {
    begin: () => {
      const handOver: HandOver = {
        enter: () => {
          const entered = new Promise<void>((resolve) => waiting.set(handOver, resolve))
          admit()
          return entered
        },
        leave: () => {
          waiting.get(handOver)?.()
          waiting.delete(handOver)
          if (open.delete(handOver)) admit()
        },
      }
      return handOver
    },
  }
}
