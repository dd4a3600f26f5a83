/** How often each of many may do something within a time: by its name, in this process, forgotten when its time is over. */
export interface Budgets {
  /** Counts one. @returns 0 when it is within the budget, else for how long there is none, in milliseconds */
  take(name: string): number
  /** For how long there is none any more, in milliseconds; 0 when one is left. Counts nothing. */
  spentMs(name: string): number
}

export interface BudgetLimits {
  count: number
  perMs: number
  /** Of so many at once; beyond it the oldest begins anew. */
  remembered: number
}

export function createBudgets({ count, perMs, remembered }: BudgetLimits): Budgets {
  const spent = new Map<string, { count: number; untilMs: number }>()
  return {
    spentMs: (name) => {
      const entry = spent.get(name)
      return entry && entry.count >= count ? Math.max(0, entry.untilMs - performance.now()) : 0
    },
    take: (name) => {
      const nowMs = performance.now()
      const entry = spent.get(name)
      if (entry && entry.untilMs > nowMs) {
        entry.count += 1
        return entry.count > count ? entry.untilMs - nowMs : 0
      }
      spent.delete(name)
      spent.set(name, { count: 1, untilMs: nowMs + perMs })
      const oldest = spent.size > remembered ? spent.keys().next() : null
      if (oldest && !oldest.done) spent.delete(oldest.value)
      return 0
    },
  }
}
