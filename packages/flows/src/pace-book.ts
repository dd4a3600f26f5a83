/**
 * What this worker knows of sites' paces and holds: a copy of what is stored, stepped at once by what the worker itself sees, written
 * down soon after, and brought up to date when other workers change it.
 *
 * While PostgreSQL is away the copy goes on by itself; what was seen meanwhile is written down when it is back.
 */
import {
  conditionOf,
  forgetOld,
  type IdSource,
  type PaceContext,
  type PaceEvent,
  type PartHold,
  type SitePace,
  steadyPace,
  stepHold,
  stepPace,
  type ThrottleLimits,
  type Uuid,
} from '@valija/core'
import type { ShapingScope } from '@valija/courier'
import {
  type Database,
  type DatabaseClock,
  findStalePaces,
  forgetSites,
  noteSites,
  readChangedPaces,
  readHolds,
  readPaces,
  readSlowedPaces,
  type StoredHold,
  type StoredPace,
  type Wake,
} from '@valija/store'
import { type Committed, commitSeen, endHolds, foldSeen, type PartMatch, paceOrStart } from './pace-commit.ts'

export interface PaceBook {
  /** Reads what is stored; the first answers are right only after it. */
  start(): Promise<void>
  /** Writes down what is left. */
  stop(): Promise<void>
  paceOf(scope: ShapingScope): SitePace
  /** Makes sure that a site's stored state is known; never rejects. */
  know(scope: ShapingScope): Promise<void>
  /** Takes in what was seen. @returns the pace after it */
  see(scope: ShapingScope, event: PaceEvent, tenantId: Uuid): SitePace
  /** Takes in a match of a rule that blames a part of the mail. @returns until when the part waits; 0: it does not */
  seePart(scope: ShapingScope, match: PartMatch): number
  /** Until when mail of one tenant and sending domain waits, and whose fault that is. */
  holdOf(
    scope: ShapingScope,
    mail: { tenantId: Uuid; fromDomain: string },
  ): { untilMs: number; part: string } | null
  /** Remembers that a tenant's mail met a slowed site. */
  witness(scope: ShapingScope, tenantId: Uuid): void
  /** The sites that are not as they should be. */
  slowed(): { scopeKey: string; pace: SitePace }[]
}

export interface PaceBookParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Wake
  workerId: Uuid
  limitsFor: (scope: ShapingScope) => ThrottleLimits
  onChange: (scopeKey: string) => void
  onError: (error: Error) => void
}

/** What is seen within this goes into one transaction, in milliseconds; of an incident the other workers must know at once. */
const gatherMs = 100
const gatherIncidentMs = 5
/** Between two transactions, while there is something to write. */
const betweenMs = 50
const afterErrorMs = 1_000
/** In case a wake-up was lost, and for what time alone changes. */
const sweepEveryMs = 15_000
const staleAfterMs = 60_000
const noteAgainMs = 3_600_000
/** While PostgreSQL is away: what was seen first decides, what comes after it is much the same. */
const mostEvents = 200

type TimedEvent = PaceEvent & { atMs: number }

interface Entry {
  /** Null: nothing is stored, or it is not known yet. */
  stored: SitePace | null
  isKnown: boolean
  local: SitePace | null
  events: TimedEvent[]
  matches: PartMatch[]
  witnesses: Set<Uuid>
  /** Those written down since the site was well. */
  knownWitnesses: Set<Uuid>
}

export function createPaceBook(parts: PaceBookParts): PaceBook {
  return new Book(parts)
}

class Book implements PaceBook {
  readonly #parts: PaceBookParts
  readonly #entries = new Map<string, Entry>()
  readonly #holds = new Map<string, Map<string, PartHold>>()
  /** Scopes with something to write down. */
  readonly #pending = new Map<string, ShapingScope>()
  readonly #notedUntil = new Map<string, number>()
  readonly #toNote = new Map<string, ShapingScope>()
  readonly #toRead = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = 0
  #sweepTimer: NodeJS.Timeout | undefined
  #writing: Promise<void> | null = null
  #reading: Promise<void> | null = null
  #sweeping: Promise<void> | null = null
  #forgetAtMs = 0
  #isStopped = false
  #stopListening: () => void = () => {}

  constructor(parts: PaceBookParts) {
    this.#parts = parts
  }

  async start(): Promise<void> {
    this.#stopListening = this.#parts.wake.on('shaping', (payload) => this.#hear(payload))
    await this.#readAll()
    this.#sweepTimer = setInterval(() => this.#sweepOnce(), sweepEveryMs).unref()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopListening()
    clearInterval(this.#sweepTimer)
    clearTimeout(this.#timer)
    await Promise.all([this.#writing, this.#reading, this.#sweeping])
    await this.#writeSeen().catch(this.#parts.onError)
  }

  paceOf(scope: ShapingScope): SitePace {
    const entry = this.#entries.get(scope.key)
    return entry?.local ?? paceOrStart(entry?.stored, this.#parts.limitsFor(scope))
  }

  async know(scope: ShapingScope): Promise<void> {
    this.#note(scope)
    // Without a rate nothing that is not stored matters, and what is slowed is known from the start on.
    if (this.#parts.limitsFor(scope).mailsPerSecond === null) return
    if (this.#entries.get(scope.key)?.isKnown === true) return
    this.#toRead.add(scope.key)
    await this.#read()
  }

  see(scope: ShapingScope, event: PaceEvent, tenantId: Uuid): SitePace {
    const limits = this.#parts.limitsFor(scope)
    const atMs = this.#parts.clock.nowMs()
    const before = this.paceOf(scope)
    const context: PaceContext = { kind: scope.kind, limits, nowMs: atMs }
    const after = stepPace(before, event, context)
    if (after === before) return before
    const entry = this.#entryOf(scope.key)
    entry.local = after
    const isIncident = after.incidentMs !== before.incidentMs
    if (isIncident || !differsInLossesOnly(before, after)) {
      // Three lost connections are counted here, not by whoever folds this in.
      const sighting = event.sighting === 'lost' ? 'unreachable' : event.sighting
      if (entry.events.length < mostEvents) entry.events.push({ ...event, sighting, atMs })
      this.#schedule(scope, isIncident ? gatherIncidentMs : gatherMs)
      this.#parts.onChange(scope.key)
    }
    const isAgainstIt = after.cause !== null || event.rule !== null
    if (isAgainstIt && event.sighting !== 'working') this.witness(scope, tenantId)
    return after
  }

  seePart(scope: ShapingScope, match: PartMatch): number {
    const parts = this.#holdsOf(scope.key)
    const key = partKey(match.tenantId, match.part)
    const before = parts.get(key) ?? { hits: {}, untilMs: 0, reason: null, reply: null }
    const after = stepHold(before, match.rule, { ...match, nowMs: match.atMs })
    if (after !== before) {
      parts.set(key, after)
      const entry = this.#entryOf(scope.key)
      if (entry.matches.length < mostEvents) entry.matches.push(match)
      this.#schedule(scope)
    }
    return after.untilMs > match.atMs ? after.untilMs : 0
  }

  holdOf(scope: ShapingScope, { tenantId, fromDomain }: { tenantId: Uuid; fromDomain: string }) {
    const parts = this.#holds.get(scope.key)
    if (parts === undefined) return null
    const now = this.#parts.clock.nowMs()
    for (const part of ['*', fromDomain]) {
      const untilMs = parts.get(partKey(tenantId, part))?.untilMs ?? 0
      if (untilMs > now) return { untilMs, part }
    }
    return null
  }

  witness(scope: ShapingScope, tenantId: Uuid): void {
    const entry = this.#entryOf(scope.key)
    if (entry.knownWitnesses.has(tenantId)) return
    entry.knownWitnesses.add(tenantId)
    entry.witnesses.add(tenantId)
    this.#schedule(scope)
  }

  slowed(): { scopeKey: string; pace: SitePace }[] {
    const now = this.#parts.clock.nowMs()
    return [...this.#entries]
      .map(([scopeKey, { local, stored }]) => ({ scopeKey, pace: local ?? stored ?? steadyPace }))
      .filter(({ pace }) => conditionOf(pace, now) !== 'ok')
  }

  #entryOf(key: string): Entry {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = {
        stored: null,
        isKnown: false,
        local: null,
        events: [],
        matches: [],
        witnesses: new Set(),
        knownWitnesses: new Set(),
      }
      this.#entries.set(key, entry)
    }
    return entry
  }

  #holdsOf(scopeKey: string): Map<string, PartHold> {
    const parts = this.#holds.get(scopeKey) ?? new Map<string, PartHold>()
    this.#holds.set(scopeKey, parts)
    return parts
  }

  // Writing

  #schedule(scope: ShapingScope, afterMs = gatherMs): void {
    this.#pending.set(scope.key, scope)
    this.#writeLater(afterMs)
  }

  #writeLater(afterMs: number): void {
    const atMs = performance.now() + afterMs
    if (this.#isStopped || (this.#timer !== undefined && this.#timerAtMs <= atMs)) return
    clearTimeout(this.#timer)
    this.#timerAtMs = atMs
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#writing !== null) return
      this.#writing = this.#writeSeen()
        .then(() => 0)
        .catch((error: Error) => {
          this.#parts.onError(error)
          return afterErrorMs
        })
        .then((pauseMs) => {
          this.#writing = null
          if (this.#pending.size + this.#toNote.size > 0) this.#writeLater(Math.max(pauseMs, betweenMs))
        })
    }, afterMs).unref()
  }

  async #writeSeen(): Promise<void> {
    const toNote = [...this.#toNote.values()].filter(({ key }) => !this.#pending.has(key))
    if (toNote.length > 0) {
      await noteSites(
        this.#parts.database.engine,
        toNote.map((scope) => this.#identityOf(scope)),
      )
    }
    for (const { key } of toNote) this.#toNote.delete(key)
    const scopes = [...this.#pending.values()]
    if (scopes.length === 0) return
    const taken = scopes.map((scope) => {
      const { events, matches, witnesses } = this.#entryOf(scope.key)
      return {
        site: this.#identityOf(scope),
        events: [...events],
        matches: [...matches],
        witnesses: [...witnesses],
      }
    })
    this.#pending.clear()
    try {
      const committed = await commitSeen({ ...this.#parts, nowMs: this.#parts.clock.nowMs }, taken)
      for (const { site, events, matches, witnesses } of taken) {
        const entry = this.#entryOf(site.key)
        entry.events.splice(0, events.length)
        entry.matches.splice(0, matches.length)
        for (const tenantId of witnesses) entry.witnesses.delete(tenantId)
        this.#toNote.delete(site.key)
      }
      this.#takeIn(committed)
    } catch (error) {
      for (const scope of scopes) this.#pending.set(scope.key, scope)
      throw error
    }
  }

  #identityOf({ key, provider, site, source, kind }: ShapingScope) {
    const scope = { key, provider, site, source, kind }
    return { ...scope, limits: this.#parts.limitsFor(scope) }
  }

  #takeIn({ paces, holds, hasWebhooks }: Committed): void {
    this.#learn([...paces].map(([key, pace]) => ({ key, pace })))
    this.#learnHolds(holds)
    for (const key of paces.keys()) this.#parts.wake.send('shaping', `pace ${this.#parts.workerId} ${key}`)
    if (hasWebhooks) this.#parts.wake.send('webhooks')
  }

  /** Sites in use are noted once an hour, so that they can be looked at. */
  #note(scope: ShapingScope): void {
    const now = performance.now()
    if ((this.#notedUntil.get(scope.key) ?? 0) > now || scope.kind === 'relay') return
    this.#notedUntil.set(scope.key, now + noteAgainMs)
    this.#toNote.set(scope.key, scope)
    this.#writeLater(gatherMs)
  }

  // Reading

  #hear(payload: string): void {
    if (payload === '') {
      void this.#readAll().catch(this.#parts.onError)
      return
    }
    const [what, workerId, key] = splitInThree(payload)
    if (what !== 'pace' || workerId === this.#parts.workerId) return
    this.#toRead.add(key)
    void this.#read()
  }

  async #readAll(): Promise<void> {
    const { engine } = this.#parts.database
    this.#learn(await readSlowedPaces(engine))
    this.#learnHolds(await readHolds(engine, null))
  }

  /** Never rejects: what could not be read now is read when it is asked for again, or by the sweep. */
  async #read(): Promise<void> {
    while (this.#reading !== null) await this.#reading
    const keys = [...this.#toRead]
    if (keys.length === 0) return
    this.#toRead.clear()
    this.#reading = this.#readKeys(keys)
      .catch(this.#parts.onError)
      .finally(() => {
        this.#reading = null
      })
    await this.#reading
  }

  async #readKeys(keys: readonly string[]): Promise<void> {
    const { engine } = this.#parts.database
    const found = new Map((await readPaces(engine, keys)).map(({ key, pace }) => [key, pace]))
    this.#learn(keys.map((key) => ({ key, pace: found.get(key) ?? null })))
    this.#learnHolds(await readHolds(engine, keys))
  }

  /** What is stored, and on top of it what this worker has seen and not written down yet. */
  #learn(stored: readonly StoredPace[]): void {
    const now = this.#parts.clock.nowMs()
    for (const { key, pace } of stored) {
      const entry = this.#entryOf(key)
      entry.isKnown = true
      entry.stored = pace
      const scope = this.#pending.get(key)
      const isFolded = scope !== undefined && entry.events.length > 0
      entry.local = isFolded
        ? foldSeen(pace, { kind: scope.kind, limits: this.#parts.limitsFor(scope) }, entry.events, now)
        : null
      if (pace === null || conditionOf(pace, now) === 'ok') entry.knownWitnesses.clear()
      this.#parts.onChange(key)
    }
  }

  #learnHolds(holds: readonly StoredHold[]): void {
    for (const { scopeKey, tenantId, part, hold } of holds) {
      this.#holdsOf(scopeKey).set(partKey(tenantId, part), hold)
    }
  }

  // Sweeping

  #sweepOnce(): void {
    this.#sweeping ??= this.#sweep()
      .catch(this.#parts.onError)
      .finally(() => {
        this.#sweeping = null
      })
  }

  async #sweep(): Promise<void> {
    const { engine } = this.#parts.database
    this.#learn(await readChangedPaces(engine, 2 * sweepEveryMs))
    const stale = await findStalePaces(engine, staleAfterMs)
    if (stale.length > 0) {
      const seen = stale.map((site) => ({ site, events: [], matches: [], witnesses: [] }))
      this.#takeIn(await commitSeen({ ...this.#parts, nowMs: this.#parts.clock.nowMs }, seen))
    }
    const { ended, hasWebhooks } = await endHolds({ ...this.#parts, nowMs: this.#parts.clock.nowMs })
    for (const { scopeKey, tenantId, part } of ended)
      this.#holds.get(scopeKey)?.delete(partKey(tenantId, part))
    if (hasWebhooks) this.#parts.wake.send('webhooks')
    if (performance.now() >= this.#forgetAtMs) {
      this.#forgetAtMs = performance.now() + noteAgainMs
      await forgetSites(engine)
    }
    this.#forget()
  }

  /** What is as if nothing was known needs no memory. */
  #forget(): void {
    const now = this.#parts.clock.nowMs()
    for (const [key, entry] of this.#entries) {
      const pace = entry.local ?? entry.stored
      const isPlain = pace === null || isSteady(forgetOld(pace, now))
      if (isPlain && !this.#pending.has(key) && entry.events.length + entry.matches.length === 0) {
        this.#entries.delete(key)
      }
    }
    const monotonic = performance.now()
    for (const [key, untilMs] of this.#notedUntil) if (untilMs < monotonic) this.#notedUntil.delete(key)
    for (const [key, parts] of this.#holds) {
      for (const [part, hold] of parts) {
        if (hold.untilMs <= now && Object.keys(hold.hits).length === 0) parts.delete(part)
      }
      if (parts.size === 0) this.#holds.delete(key)
    }
  }
}

function isSteady({ cause, connections, mailsPerSecond, incidentsMs, hits }: SitePace): boolean {
  const isSlowed = connections !== null || mailsPerSecond !== null
  return cause === null && !isSlowed && incidentsMs.length === 0 && Object.keys(hits).length === 0
}

function differsInLossesOnly(one: SitePace, other: SitePace): boolean {
  return JSON.stringify({ ...one, lostInRow: 0 }) === JSON.stringify({ ...other, lostInRow: 0 })
}

function partKey(tenantId: Uuid, part: string): string {
  return `${tenantId} ${part}`
}

/** At the first two spaces: keys may have some. */
function splitInThree(text: string): [string, string, string] {
  const [first = '', second = '', ...rest] = text.split(' ')
  return [first, second, rest.join(' ')]
}
