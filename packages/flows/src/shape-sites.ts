/**
 * The shaper: what the site scheduler asks before each connection and mail, and what learns from every attempt (DESIGN 4.15, 4.16).
 *
 * Configured limits (throttle-rules.ts) as far as the site's pace leaves them (pace-book.ts); places for connections and slots for
 * mails over all workers (site-places.ts, mail-slots.ts). A relay's places are this worker's own and cost no question to PostgreSQL.
 */
import {
  type IdSource,
  limitsFor,
  matchingRule,
  type PaceEvent,
  paceLimits,
  pauseAfter,
  sightingOf,
  steadyNowMs,
  storableText,
  type ThrottleRule,
  type TransactionReport,
  type Uuid,
} from '@valija/core'
import type { ConnectionGrant, ShapingScope, SiteNow, SiteShaper } from '@valija/courier'
import { formatSmtpReply } from '@valija/mail'
import type { Database, DatabaseClock, LeasedDelivery, Wake } from '@valija/store'
import { createMailSlots } from './mail-slots.ts'
import { createPaceBook, type PaceBook } from './pace-book.ts'
import type { SiteObservation, SiteObserver } from './site-observer.ts'
import { createSitePlaces, type SitePlaces } from './site-places.ts'
import type { ThrottleRules } from './throttle-rules.ts'

export interface Shaper extends SiteShaper, SiteObserver {
  /** Reads what is stored. */
  start(): Promise<void>
  /** Gives everything back. Nothing may be asked for any more. */
  stop(): Promise<void>
  /**
   * Whether mail of this tenant and sending domain is held back at a site that takes others' (or all, when the site is suspended: then
   * the tenant is told of it). To be asked when a mail goes into its line.
   *
   * @returns until when (`steadyNowMs()`), and what explain shows
   */
  heldUntil(
    scope: ShapingScope,
    mail: Pick<LeasedDelivery, 'tenantId' | 'fromDomain'>,
  ): { untilMs: number; hold: string } | null
  /** For metrics: how many sites are suspended and slowed. */
  conditions(): { suspended: number; slowed: number }
}

export interface ShaperParts {
  database: Database
  wake: Wake
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  rules: Pick<ThrottleRules, 'current' | 'onChange'>
  /** Of this process and start: what its places are counted by. */
  workerId: Uuid
  /** Told how long each connection and mail waited for its right, where there was one to wait for. */
  meters?: { waited: { observe(labels: { for: 'connection' | 'mail' }, seconds: number): void } }
  onError: (error: Error) => void
}

/** A rate that leaves more time than this between mails is waited for without a connection, in milliseconds. */
const slowSpacingMs = 10_000

/** Sites whose mails are counted, the last used ones. */
const mostCounted = 10_000

export function createShaper(parts: ShaperParts): Shaper {
  return new SharedShaper(parts)
}

class SharedShaper implements Shaper {
  readonly #parts: ShaperParts
  readonly #book: PaceBook
  readonly #places: SitePlaces
  readonly #slots: ReturnType<typeof createMailSlots>
  readonly #listeners = new Set<(scopeKey: string) => void>()
  readonly #relayPlaces = new Map<string, number>()
  /** Mails that sites took since their last incident, as far as this worker sent them. */
  readonly #taken = new Map<string, number>()
  readonly #stopListening: (() => void)[] = []

  constructor(parts: ShaperParts) {
    this.#parts = parts
    const { wake, workerId } = parts
    const changed = (scopeKey: string) => {
      for (const listener of this.#listeners) listener(scopeKey)
    }
    this.#book = createPaceBook({
      ...parts,
      limitsFor: (scope) => limitsFor(parts.rules.current(), scope),
      onChange: (scopeKey) => {
        this.#places.look(scopeKey)
        changed(scopeKey)
      },
    })
    this.#places = createSitePlaces({
      ...parts,
      limitOf: (scope) => this.#limitsAt(scope, parts.clock.nowMs()).connections,
      tell: (what, scopeKey) => wake.send('shaping', `${what} ${workerId} ${scopeKey}`),
      onChange: changed,
    })
    this.#slots = createMailSlots(parts)
    this.#stopListening.push(
      wake.on('shaping', (payload) => this.#hear(payload)),
      parts.rules.onChange(() => {
        this.#places.lookAtAll()
        for (const key of this.#relayPlaces.keys()) changed(key)
      }),
    )
  }

  start(): Promise<void> {
    return this.#book.start()
  }

  async stop(): Promise<void> {
    for (const stop of this.#stopListening) stop()
    this.#slots.stop()
    await this.#places.stop()
    await this.#book.stop()
  }

  limitsOf(scope: ShapingScope): SiteNow {
    const nowMs = this.#parts.clock.nowMs()
    const now = this.#limitsAt(scope, nowMs)
    const spacingMs = now.mailsPerSecond === null ? 0 : 1_000 / now.mailsPerSecond
    // Between the mails of a slow site nothing happens: connections would be kept for nothing.
    const nextMs = spacingMs > slowSpacingMs ? this.#slots.nextAt(scope.key) : 0
    const pausedUntilMs = Math.max(now.pausedUntilMs, nextMs)
    const useful = spacingMs === 0 ? now.connections : Math.max(1, Math.ceil(slowSpacingMs / spacingMs))
    return {
      connections: this.#places.shareOf(scope.key, Math.min(now.connections, useful)),
      mailsPerConnection: now.mailsPerConnection,
      pausedUntilMs: pausedUntilMs > nowMs ? this.#localTime(pausedUntilMs, nowMs) : 0,
    }
  }

  async takeConnection(scope: ShapingScope): Promise<ConnectionGrant> {
    await this.#book.know(scope)
    const { connections, pausedUntilMs } = this.limitsOf(scope)
    if (pausedUntilMs > steadyNowMs()) return { isGranted: false, retryAtMs: pausedUntilMs }
    if (scope.kind === 'relay') return this.#takeRelay(scope, connections)
    return this.#metered('connection', this.#places.take(scope))
  }

  takeMail(scope: ShapingScope): Promise<unknown> | null {
    const { mailsPerSecond } = this.#limitsAt(scope, this.#parts.clock.nowMs())
    const right = mailsPerSecond === null ? null : this.#slots.take(scope.key, mailsPerSecond)
    return right && this.#metered('mail', right)
  }

  onChange(listener: (scopeKey: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  observe(scope: ShapingScope, { report, disposition, delivery }: SiteObservation): number | null {
    const sighting = sightingOf(report)
    if (sighting === null) return null
    const nowMs = this.#parts.clock.nowMs()
    const isRefusal = sighting !== 'working'
    const rule = isRefusal
      ? matchingRule(this.#parts.rules.current(), scope, { reply: report.reply, reason: disposition.reason })
      : null
    const reply = shownReply(report)
    if (rule?.blame === 'tenant' || rule?.blame === 'sending_domain') {
      return this.#observePart(scope, rule, { reply, reason: disposition.reason, delivery, nowMs })
    }
    const event: PaceEvent = {
      sighting,
      begunMs: nowMs - report.durationMs,
      takenBefore: this.#taken.get(scope.key) ?? 0,
      rule,
      reason: disposition.reason,
      reply,
    }
    const before = this.#book.paceOf(scope)
    const pace = this.#book.see(scope, event, delivery.tenantId)
    if (sighting === 'working') this.#countTaken(scope.key, event.takenBefore + 1)
    else if (pace.incidentMs !== before.incidentMs) this.#taken.delete(scope.key)
    if (disposition.event !== 'defer') return null
    const limits = limitsFor(this.#parts.rules.current(), scope)
    return pauseAfter(pace, event, { kind: scope.kind, limits, nowMs })
  }

  heldUntil(
    scope: ShapingScope,
    mail: Pick<LeasedDelivery, 'tenantId' | 'fromDomain'>,
  ): { untilMs: number; hold: string } | null {
    const nowMs = this.#parts.clock.nowMs()
    const held = this.#book.holdOf(scope, mail)
    if (held !== null) {
      const blamed = held.part === '*' ? 'tenant' : held.part
      return { untilMs: this.#localTime(held.untilMs, nowMs), hold: `held_at:${nameOf(scope)} ${blamed}` }
    }
    const { pausedUntilMs } = this.#book.paceOf(scope)
    if (pausedUntilMs - nowMs > slowSpacingMs) this.#book.witness(scope, mail.tenantId)
    return null
  }

  conditions(): { suspended: number; slowed: number } {
    const nowMs = this.#parts.clock.nowMs()
    const slowed = this.#book.slowed()
    const suspended = slowed.filter(({ pace }) => pace.pausedUntilMs > nowMs).length
    return { suspended, slowed: slowed.length - suspended }
  }

  async #metered<T>(what: 'connection' | 'mail', right: Promise<T>): Promise<T> {
    const askedAtMs = performance.now()
    const taken = await right
    this.#parts.meters?.waited.observe({ for: what }, (performance.now() - askedAtMs) / 1_000)
    return taken
  }

  #limitsAt(scope: ShapingScope, nowMs: number) {
    return paceLimits(this.#book.paceOf(scope), limitsFor(this.#parts.rules.current(), scope), nowMs)
  }

  #countTaken(scopeKey: string, count: number): void {
    this.#taken.delete(scopeKey)
    this.#taken.set(scopeKey, count)
    const oldest = this.#taken.size > mostCounted ? this.#taken.keys().next().value : undefined
    if (oldest !== undefined) this.#taken.delete(oldest)
  }

  #takeRelay({ key }: ShapingScope, connections: number): ConnectionGrant {
    const inUse = this.#relayPlaces.get(key) ?? 0
    if (inUse >= connections) return { isGranted: false, retryAtMs: steadyNowMs() + 1_000 }
    this.#relayPlaces.set(key, inUse + 1)
    let isHeld = true
    return {
      isGranted: true,
      isValid: () => isHeld,
      release: () => {
        if (!isHeld) return
        isHeld = false
        const left = (this.#relayPlaces.get(key) ?? 1) - 1
        if (left > 0) this.#relayPlaces.set(key, left)
        else this.#relayPlaces.delete(key)
      },
    }
  }

  #observePart(
    scope: ShapingScope,
    rule: ThrottleRule,
    seen: {
      reply: string | null
      reason: SiteObservation['disposition']['reason']
      delivery: SiteObservation['delivery']
      nowMs: number
    },
  ): number | null {
    const { reply, reason, delivery, nowMs } = seen
    const part = rule.blame === 'tenant' ? '*' : delivery.fromDomain
    const match = { tenantId: delivery.tenantId, part, rule, reason, reply, atMs: nowMs }
    const untilMs = this.#book.seePart(scope, match)
    return untilMs > nowMs ? untilMs - nowMs : null
  }

  #hear(payload: string): void {
    const [what, workerId, ...key] = payload.split(' ')
    if (workerId === this.#parts.workerId || (what !== 'want' && what !== 'free')) return
    const scopeKey = key.join(' ')
    if (what === 'want') this.#places.look(scopeKey)
    else for (const listener of this.#listeners) listener(scopeKey)
  }

  /** PostgreSQL's time as `steadyNowMs()` tells it on this machine. */
  #localTime(databaseMs: number, nowMs: number): number {
    return steadyNowMs() + (databaseMs - nowMs)
  }
}

function nameOf({ provider, site }: ShapingScope): string {
  return provider ?? site
}

/** What people are shown of a refusal. Other tenants' recipients are none of theirs. */
function shownReply(report: TransactionReport): string | null {
  const shown = report.reply ? formatSmtpReply(report.reply) : report.detail
  return shown === null
    ? null
    : storableText(shown.replace(/[^\s<>:;,()[\]"']+@[^\s<>:;,()[\]"']+/g, '<address>'))
}
