/**
 * Sessions without work: found by what other destinations know them by, so that whoever goes to the same host takes one of these
 * before it opens another; and ended when nobody wants them for a while.
 *
 * A session can be without work after each of its mails, so one timer serves them all.
 */
import type { TransactionReport } from '@valija/core'
import type { Lane, SiteState } from './site-state.ts'

export interface IdleLanesParts<Job> {
  /** How long a session may be without work, in milliseconds. */
  idleMs: number
  /** Its time is over; it is no longer here. */
  onStale: (lane: Lane<Job>) => void
}

export class IdleLanes<Job> {
  readonly #parts: IdleLanesParts<Job>
  readonly #byKey = new Map<string, Set<Lane<Job>>>()
  /** Since when, by the monotonic clock; the longest first. */
  readonly #since = new Map<Lane<Job>, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(parts: IdleLanesParts<Job>) {
    this.#parts = parts
  }

  get size(): number {
    return this.#since.size
  }

  add(lane: Lane<Job>): void {
    this.#since.delete(lane)
    this.#since.set(lane, performance.now())
    // Their sockets keep the process, not the end of their idleness.
    this.#timer ??= setTimeout(() => this.#endStale(), this.#parts.idleMs).unref()
    if (lane.shareKey === null) return
    const lanes = this.#byKey.get(lane.shareKey)
    if (lanes === undefined) this.#byKey.set(lane.shareKey, new Set([lane]))
    else lanes.add(lane)
  }

  delete(lane: Lane<Job>): void {
    // The timer stays: it is set but once for however many mails begin meanwhile.
    this.#since.delete(lane)
    const lanes = lane.shareKey === null ? undefined : this.#byKey.get(lane.shareKey)
    if (lanes?.delete(lane) && lanes.size === 0) this.#byKey.delete(lane.shareKey ?? '')
  }

  /** One of another site under the same limits that goes to one of the site's best hosts; null when there is none. */
  find(site: SiteState<Job>): Lane<Job> | null {
    for (const key of site.destination.bestShareKeys()) {
      for (const lane of this.#byKey.get(key) ?? []) {
        if (lane.site !== site && lane.site.scope === site.scope) return lane
      }
    }
    return null
  }

  /**
   * Any of them, by chance; null when there is none. Where mail goes to somewhat more sites than there are sockets, in turn, the one that has been without
   * work for the longest would be the very one that is wanted next, each time.
   */
  pickAny(): Lane<Job> | null {
    const nth = Math.floor(Math.random() * this.#since.size)
    return [...this.#since.keys()][nth] ?? null
  }

  #endStale(): void {
    this.#timer = undefined
    const { idleMs, onStale } = this.#parts
    const now = performance.now()
    for (const [lane, sinceMs] of this.#since) {
      const restMs = sinceMs + idleMs - now
      if (restMs > 0) {
        this.#timer = setTimeout(() => this.#endStale(), Math.ceil(restMs)).unref()
        return
      }
      this.delete(lane)
      onStale(lane)
    }
  }
}

/** A session that was idle for so long may have been given up by its peer without a word. */
const staleAfterMs = 1_000

/** The peer had given up the session before this mail, which was not begun, and says nothing of the site. */
export function wasGivenUp(report: TransactionReport, idleMs: number): boolean {
  if (report.phase !== 'mail') return false
  if (report.reply !== null) return report.reply.code === 421
  return report.failure === 'connection_lost' && idleMs >= staleAfterMs
}
