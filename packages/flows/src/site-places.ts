/**
 * Places for connections at receiving sites, over all workers (DESIGN 4.15): counted in PostgreSQL, lent to this worker for as
 * long as it is heard of, and shared when others wait.
 *
 * One statement at a time says what this worker holds and what it would like, for all sites that need it: so many connections at
 * once cost no more than one, and what is said is always whole.
 */
import { performance } from 'node:perf_hooks'
import { steadyNowMs, type Uuid } from '@valija/core'
import type { ConnectionGrant, ShapingScope } from '@valija/courier'
import { type Database, exchangePermits, type PermitAnswer, permitTtlMs, returnPermits } from '@valija/store'

export interface SitePlaces {
  /** Asks for a place; never rejects. Times are `steadyNowMs()`. */
  take(scope: ShapingScope): Promise<ConnectionGrant>
  /** How many places this worker may have, of those that the limit allows, while others want some too. */
  shareOf(scopeKey: string, limit: number): number
  /** The limit has changed, or another worker says that it waits or that there is room. */
  look(scopeKey: string): void
  /** The same for all sites. */
  lookAtAll(): void
  /** Places taken and not given back. */
  readonly inUse: number
  stop(): Promise<void>
}

export interface SitePlacesParts {
  database: Database
  workerId: Uuid
  /** The present limit of all workers together. */
  limitOf: (scope: ShapingScope) => number
  /** Another worker may have a place now, or should share. */
  tell: (what: 'free' | 'want', scopeKey: string) => void
  /** It may be worth asking for a place, or necessary to have fewer. */
  onChange: (scopeKey: string) => void
  onError: (error: Error) => void
}

const heartbeatMs = 10_000
/** Below the server's time, so that a place is never used after somebody else could have it. */
const validForMs = permitTtlMs - 1_000
/** Whoever got no place asks again after this; whoever hears of a free one does so at once. */
const retryMs = 1_000
/** A place that came free is kept for the next connection this long. */
const lingerMs = 1_000
/** Where there are fewer places than workers that want one, each has it for this long. */
const turnMs = 2_000

interface Place {
  sinceMs: number
  isRevoked: boolean
}

interface Site {
  scope: ShapingScope
  key: string
  /** In use. */
  places: Set<Place>
  /** Lent to us, not in use, and since when. */
  spare: number
  spareSinceMs: number
  waiting: ((grant: ConnectionGrant) => void)[]
  /** Until when what we hold is ours (monotonic). */
  validUntilMs: number
  rivals: number
  othersWaiting: number
  /** What PostgreSQL knows that we hold. */
  saidHeld: number
  /** Something has to be said or asked. */
  isDue: boolean
  toldWantMs: number
}

export function createSitePlaces(parts: SitePlacesParts): SitePlaces {
  return new Places(parts)
}

class Places implements SitePlaces {
  readonly #parts: SitePlacesParts
  readonly #sites = new Map<string, Site>()
  readonly #heartbeat: NodeJS.Timeout
  #timer: NodeJS.Timeout | undefined
  #exchange: Promise<void> | null = null
  #isStopped = false

  constructor(parts: SitePlacesParts) {
    this.#parts = parts
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs).unref()
  }

  get inUse(): number {
    let count = 0
    for (const site of this.#sites.values()) count += site.places.size
    return count
  }

  take(scope: ShapingScope): Promise<ConnectionGrant> {
    const site = this.#siteOf(scope)
    const isLent = performance.now() < site.validUntilMs
    const hasRoom = site.places.size < this.shareOf(scope.key, this.#parts.limitOf(scope))
    if (site.spare > 0 && isLent && hasRoom && !this.#isStopped) {
      site.spare -= 1
      return Promise.resolve(this.#grant(site))
    }
    if (this.#isStopped) return Promise.resolve(refusal())
    return new Promise((resolve) => {
      site.waiting.push(resolve)
      site.isDue = true
      this.#pump()
    })
  }

  shareOf(scopeKey: string, limit: number): number {
    const site = this.#sites.get(scopeKey)
    if (site === undefined || site.othersWaiting === 0) return limit
    return Math.max(1, partOf(limit, site.rivals + 1))
  }

  look(scopeKey: string): void {
    const site = this.#sites.get(scopeKey)
    if (site === undefined) return
    site.isDue = true
    this.#pump()
  }

  lookAtAll(): void {
    for (const site of this.#sites.values()) {
      site.isDue = true
      this.#parts.onChange(site.key)
    }
    this.#pump()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#heartbeat)
    clearTimeout(this.#timer)
    await this.#exchange
    for (const site of this.#sites.values()) for (const refuse of site.waiting.splice(0)) refuse(refusal())
    await returnPermits(this.#parts.database.engine, this.#parts.workerId).catch(this.#parts.onError)
    for (const [key, site] of this.#sites) if (site.othersWaiting > 0) this.#parts.tell('free', key)
  }

  #siteOf(scope: ShapingScope): Site {
    const { key } = scope
    let site = this.#sites.get(key)
    if (site === undefined) {
      site = {
        scope,
        key,
        places: new Set(),
        spare: 0,
        spareSinceMs: 0,
        waiting: [],
        validUntilMs: 0,
        rivals: 0,
        othersWaiting: 0,
        saidHeld: 0,
        isDue: false,
        toldWantMs: Number.NEGATIVE_INFINITY,
      }
      this.#sites.set(key, site)
    }
    return site
  }

  #grant(site: Site): ConnectionGrant {
    const place: Place = { sinceMs: performance.now(), isRevoked: false }
    site.places.add(place)
    return {
      isGranted: true,
      isValid: () => !place.isRevoked && performance.now() < site.validUntilMs,
      release: () => {
        if (!site.places.delete(place) || this.#isStopped) return
        const isKept = !place.isRevoked && site.othersWaiting === 0
        if (isKept) {
          site.spare += 1
          site.spareSinceMs = performance.now()
          this.#timer ??= setTimeout(() => this.#tidy(), lingerMs).unref()
        } else {
          site.isDue = true
          this.#pump()
        }
      },
    }
  }

  /** Says everything that this worker holds, so that it stays its own. */
  #beat(): void {
    for (const site of this.#sites.values()) if (site.places.size + site.spare > 0) site.isDue = true
    this.#pump()
  }

  /** Gives back what nobody came for, and ends turns. */
  #tidy(): void {
    this.#timer = undefined
    const now = performance.now()
    let isNeeded = false
    for (const site of this.#sites.values()) {
      const hasTurns = site.othersWaiting > 0 && site.places.size > 0
      if (hasTurns || (site.spare > 0 && now - site.spareSinceMs >= lingerMs)) {
        site.spare = 0
        site.isDue = true
      }
      isNeeded ||= site.spare > 0 || hasTurns
    }
    if (isNeeded) this.#timer = setTimeout(() => this.#tidy(), lingerMs).unref()
    this.#pump()
  }

  #pump(): void {
    if (this.#exchange !== null || this.#isStopped) return
    const due = [...this.#sites.values()].filter((site) => site.isDue)
    if (due.length === 0) return
    this.#exchange = this.#exchangeFor(due).finally(() => {
      this.#exchange = null
      this.#pump()
    })
  }

  async #exchangeFor(sites: readonly Site[]): Promise<void> {
    const askedAtMs = performance.now()
    const requests = sites.map((site) => {
      site.isDue = false
      this.#lapse(site, askedAtMs)
      return {
        scopeKey: site.key,
        held: site.places.size + site.spare,
        wanted: site.waiting.length,
        limit: this.#parts.limitOf(site.scope),
      }
    })
    try {
      const answers = await exchangePermits(this.#parts.database.engine, this.#parts.workerId, requests)
      for (const [index, site] of sites.entries()) {
        const answer = answers.get(site.key)
        if (answer === undefined) continue
        if (!answer.kept) this.#giveUp(site)
        site.validUntilMs = askedAtMs + validForMs
        const { held = 0, wanted = 0 } = requests[index] ?? {}
        const said = answer.kept ? held : 0
        if (answer.waiting > 0 && said < site.saidHeld) this.#parts.tell('free', site.key)
        site.saidHeld = said + answer.granted
        this.#settle(site, answer, wanted)
      }
    } catch (error) {
      this.#parts.onError(error as Error)
      for (const site of sites) for (const refuse of site.waiting.splice(0)) refuse(refusal())
    }
  }

  /** What was not confirmed in time is somebody else's by now. */
  #lapse(site: Site, now: number): void {
    if (now >= site.validUntilMs) this.#giveUp(site)
  }

  #giveUp(site: Site): void {
    for (const place of site.places) place.isRevoked = true
    site.places.clear()
    site.spare = 0
  }

  #settle(site: Site, answer: PermitAnswer, wanted: number): void {
    const othersWaitedBefore = site.othersWaiting
    site.rivals = answer.rivals
    site.othersWaiting = answer.waiting
    site.spare += answer.granted
    const asked = site.waiting.splice(0, wanted)
    for (const take of asked) {
      if (site.spare > 0) {
        site.spare -= 1
        take(this.#grant(site))
      } else {
        take(refusal())
      }
    }
    const now = performance.now()
    if (asked.length > answer.granted && now - site.toldWantMs >= retryMs) {
      site.toldWantMs = now
      this.#parts.tell('want', site.key)
    }
    this.#share(site, now)
    if (answer.waiting > 0 !== othersWaitedBefore > 0) this.#parts.onChange(site.key)
    // Released while this was under way: that is still to be said.
    const isSaid = !site.isDue && site.saidHeld === 0
    if (isSaid && site.places.size + site.spare + site.waiting.length === 0) this.#sites.delete(site.key)
  }

  /** Gives up what is more than the limit, and more than our part of it while others wait. Connections in use end after their mail. */
  #share(site: Site, now: number): void {
    const limit = this.#parts.limitOf(site.scope)
    const part = partOf(limit, site.rivals + 1)
    const isTurnOver = [...site.places].some((place) => now - place.sinceMs >= turnMs)
    const ours = site.othersWaiting === 0 ? limit : Math.max(part, isTurnOver ? 0 : 1)
    let excess = site.places.size + site.spare - Math.min(ours, limit)
    if (site.othersWaiting > 0) this.#timer ??= setTimeout(() => this.#tidy(), lingerMs).unref()
    if (excess <= 0) return
    const fromSpare = Math.min(excess, site.spare)
    site.spare -= fromSpare
    if (fromSpare > 0) site.isDue = true
    excess -= fromSpare
    for (const place of site.places) {
      if (excess <= 0) break
      if (!place.isRevoked) place.isRevoked = true
      excess -= 1
    }
    this.#parts.onChange(site.key)
  }
}

/**
 * What each of the workers that want places may have. Rounded up where one is left for the last of them all the same: rounded
 * down, two workers would use four of five connections and pass the fifth to and fro.
 */
function partOf(limit: number, workers: number): number {
  const rounded = Math.ceil(limit / workers)
  return rounded * (workers - 1) < limit ? rounded : Math.floor(limit / workers)
}

function refusal(): ConnectionGrant {
  return { isGranted: false, retryAtMs: steadyNowMs() + retryMs }
}
