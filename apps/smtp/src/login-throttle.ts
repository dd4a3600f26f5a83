/**
 * How fast somebody may try passwords. Each failure under a name (a peer, the beginning of a key) makes the next try under it wait longer;
 * whoever would have to wait too long is turned away without being looked at. A try counts as a failure from its beginning, so that many at
 * once gain nothing, and stops counting when it succeeds.
 *
 * With the usual limits a peer that tries without end has nine passwords looked at in its first half minute, and two in each minute after.
 */

export interface LoginTry {
  /** How long to wait before the password is looked at; null: not at all, come again after `retryAfterMs`. */
  waitMs: number | null
  retryAfterMs: number
  /** It was the right one. */
  succeeded(): void
}

export interface LoginThrottle {
  /** @param names under which it counts */
  begin(names: readonly string[]): LoginTry
}

export interface ThrottleLimits {
  /** Failures without a wait. */
  free: number
  /** The first wait; each failure doubles it. */
  firstMs: number
  mostMs: number
  /** Who would wait longer is turned away. */
  patienceMs: number
  /** After so long without a try all is forgotten. */
  forgetMs: number
  /** Names that are remembered; the one that was used longest ago goes first. */
  names: number
}

export const loginLimits: ThrottleLimits = {
  free: 3,
  firstMs: 500,
  mostMs: 30_000,
  patienceMs: 15_000,
  forgetMs: 900_000,
  names: 10_000,
}

interface Record {
  failures: number
  /** When the next try may be looked at. */
  nextAtMs: number
  lastMs: number
}

/** @param nowMs monotonic */
export function createLoginThrottle(
  limits: ThrottleLimits = loginLimits,
  nowMs: () => number = () => performance.now(),
): LoginThrottle {
  const records = new Map<string, Record>()
  const recordOf = (name: string, now: number): Record => {
    const known = records.get(name)
    records.delete(name)
    const isFresh = known !== undefined && now - known.lastMs < limits.forgetMs
    const record = isFresh ? known : { failures: 0, nextAtMs: now, lastMs: now }
    record.lastMs = now
    records.set(name, record)
    const oldest = records.size > limits.names ? records.keys().next() : null
    if (oldest && !oldest.done) records.delete(oldest.value)
    return record
  }
  const delayAfter = (failures: number) =>
    failures < limits.free ? 0 : Math.min(limits.mostMs, limits.firstMs * 2 ** (failures - limits.free))
  return {
    begin: (names) => {
      const now = nowMs()
      const own = names.map((name) => recordOf(name, now))
      const atMs = Math.max(now, ...own.map(({ nextAtMs }) => nextAtMs))
      if (atMs - now > limits.patienceMs)
        return { waitMs: null, retryAfterMs: atMs - now, succeeded: () => undefined }
      const added = own.map((record) => {
        record.failures++
        const before = record.nextAtMs
        record.nextAtMs = atMs + delayAfter(record.failures)
        return record.nextAtMs - before
      })
      return {
        waitMs: atMs - now,
        retryAfterMs: 0,
        succeeded: () => {
          for (const [i, record] of own.entries()) {
            record.failures--
            record.nextAtMs -= added[i] ?? 0
          }
        },
      }
    },
  }
}
