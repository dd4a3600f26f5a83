/**
 * Sessions without work, found by what other destinations know them by: whoever goes to the same host takes one of these before it
 * opens another.
 */
import type { Lane, SiteState } from './site-state.ts'

export class IdleLanes<Job> {
  readonly #byKey = new Map<string, Set<Lane<Job>>>()

  add(lane: Lane<Job>): void {
    if (lane.shareKey === null) return
    const lanes = this.#byKey.get(lane.shareKey)
    if (lanes === undefined) this.#byKey.set(lane.shareKey, new Set([lane]))
    else lanes.add(lane)
  }

  delete(lane: Lane<Job>): void {
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
}
