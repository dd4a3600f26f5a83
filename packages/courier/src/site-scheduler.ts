/**
 * Runs leased deliveries, in this process, on sessions to their sites.
 *
 * A site is where mails of one destination go. Its jobs wait in one line, in which tenants take turns, and run on whichever
 * of its sessions comes free; another session is opened only when the line grows faster than it moves, and more at once only
 * while opening succeeds. A session without work serves any other destination that has the same host among its best.
 *
 * Sites of one scope share limits over all workers, which the shaper keeps: a place for each connection, a right for each
 * mail. Where places are short, sites take turns at them.
 *
 * A site that cannot be reached is tried again after a pause. Each time one job is told why; the others keep their places, so
 * an outage costs the database nothing and ends with the first connection that succeeds. What is beyond a site's share, and
 * everything that would have to wait longer than a moment, is handed back until the pause is over: a site that is down does
 * not fill its worker. Where this process has no socket for another session, nothing is wrong with the site: it is tried again soon,
 * its sessions go on, and what is handed back is not held for it.
 */
import { steadyNowMs, type TransactionReport } from '@valija/core'
import type { Destination, ShapingScope } from './destination.ts'
import { IdleLanes, wasGivenUp } from './idle-lanes.ts'
import { LaneClosings } from './lane-closings.ts'
import type { OpenSession, Session } from './session.ts'
import { countAnswer, look } from './site-progress.ts'
import type { SiteShaper } from './site-shaper.ts'
import { endOfRest, isCleared, isInTrouble, type LineLimits, mayKeep } from './site-share.ts'
import {
  areShort,
  createSite,
  type FailedOpening,
  type Grant,
  hasRoomFor,
  isBehind,
  isDown,
  isResting,
  isStarving,
  type Lane,
  longestPauseMs,
  patienceMs,
  restAfterFailure,
  restMsOf,
  restsUntil,
  type ScopeState,
  type SiteState,
  sessionsOf,
  type Waiting,
  wouldGainFrom,
} from './site-state.ts'
import type { Turn } from './turn-line.ts'

/** One delivery. */
export interface SiteJob {
  /** Who it is for: tenants and their streams take turns, however much one of them has waiting. */
  readonly turn: Turn
  /**
   * The transaction: composes, asks whether it may begin (which can take a while), sends; never rejects. Runs again, on another
   * session, when it might not begin, or the peer had given the first one up.
   *
   * @returns null when it was told not to begin, and has not; 'withdrawn' when it has not begun and is the caller's again
   */
  run(session: Session, mayBegin: () => Promise<boolean>): Promise<TransactionReport | 'withdrawn' | null>
  /** Told once how it ended: the report of its run, or of the opening that failed before it could run. */
  settle(report: TransactionReport): void
}

export interface SiteLimits extends LineLimits {
  /** A session without work is kept this long. */
  idleMs: number
  /** Connections of all sites together, those being opened included. */
  sockets: number
}

export interface SiteSchedulerParts<Job extends SiteJob> {
  open: (destination: Destination) => ReturnType<OpenSession>
  shaper: SiteShaper
  limits: SiteLimits
  /**
   * These jobs were not begun and are the caller's again; their site takes no mail before `untilMs` (`steadyNowMs()`). `scope` is
   * null where that is no matter of the site: this process has no socket for it.
   */
  onHeldBack: (jobs: Job[], untilMs: number, scope: ShapingScope | null) => void
  /** A job broke its promise not to reject, or `settle` threw, or `open`, perhaps for no job any more; the job is the caller's again. */
  onCrash: (job: Job | null, error: unknown) => void
}

export interface SiteScheduler<Job extends SiteJob> {
  submit(destination: Destination, job: Job): void
  /** Takes jobs that wait out of their lines, such as those whose time is over. */
  withdraw(isOver: (job: Job) => boolean): Job[]
  /** Jobs that wait for a session. */
  readonly waiting: number
  /** Connections open or being opened. */
  readonly sockets: number
  /**
   * Takes no more work: later jobs are held back. Running transactions go on to their end.
   *
   * @returns the jobs that were not begun, at once, and when the last transaction has ended
   */
  drain(): { returned: Job[]; done: Promise<void> }
  /** Drains, then closes every session. Call `drain` before to have the jobs returned. */
  close(): Promise<void>
}

/** Nothing need happen at a site that holds us up: all are looked at so often. */
const lookMs = 500

/** After so many mails a site's only session gives its place to a site of the same scope that has none. */
const mailsPerTurn = 10

export function createSiteScheduler<Job extends SiteJob>(parts: SiteSchedulerParts<Job>): SiteScheduler<Job> {
  return new Scheduler(parts)
}

class Scheduler<Job extends SiteJob> implements SiteScheduler<Job> {
  readonly #parts: SiteSchedulerParts<Job>
  readonly #sites = new Map<string, SiteState<Job>>()
  readonly #scopes = new Map<string, ScopeState<Job>>()
  /** Sites that would open a connection if the bound on all sockets let them, longest waiting first. */
  readonly #wanting = new Set<SiteState<Job>>()
  readonly #idle: IdleLanes<Job>
  #sockets = 0
  /** Sites in trouble that have jobs, when last looked at. */
  #inTrouble = 0
  /** Any site has answered a mail since then. */
  #isAnswered = false
  #running = 0
  readonly #closings = new LaneClosings<Job>()
  #drained: PromiseWithResolvers<void> | null = null
  readonly #draining = Promise.withResolvers<void>()
  readonly #stopListening: () => void
  readonly #lookTimer: NodeJS.Timeout

  constructor(parts: SiteSchedulerParts<Job>) {
    this.#parts = parts
    const { idleMs } = parts.limits
    this.#idle = new IdleLanes({ idleMs, onStale: (lane) => void this.#closeLane(lane) })
    this.#stopListening = parts.shaper.onChange((scopeKey) => this.#pumpScope(this.#scopes.get(scopeKey)))
    this.#lookTimer = setInterval(() => this.#look(), lookMs).unref()
  }

  get sockets(): number {
    return this.#sockets
  }

  get waiting(): number {
    let count = 0
    for (const site of this.#sites.values()) count += site.line.length
    return count
  }

  submit(destination: Destination, job: Job): void {
    if (this.#drained !== null) {
      this.#parts.onHeldBack([job], steadyNowMs(), destination.scope)
      return
    }
    const site = this.#siteOf(destination)
    site.line.push({ job, turn: job.turn, sinceMs: performance.now() })
    // The line may be full of somebody else's: whose turn is last goes, and that need not be the one who came last.
    this.#handBackExcess(site)
    if (site.line.length > 0) this.#pump(site)
    else this.#forget(site)
  }

  withdraw(isOver: (job: Job) => boolean): Job[] {
    return [...this.#sites.values()].flatMap((site) => {
      const taken = site.line.takeWhere(({ job }) => isOver(job)).map(({ job }) => job)
      if (taken.length > 0 && site.line.length === 0) this.#wanting.delete(site)
      return taken
    })
  }

  drain(): { returned: Job[]; done: Promise<void> } {
    this.#drained ??= Promise.withResolvers<void>()
    this.#draining.resolve()
    const returned: Job[] = []
    for (const { line } of this.#sites.values()) {
      for (const { job } of line.takeAll()) returned.push(job)
    }
    this.#wanting.clear()
    this.#endDrain()
    return { returned, done: this.#drained.promise }
  }

  async close(): Promise<void> {
    await this.drain().done
    this.#stopListening()
    clearInterval(this.#lookTimer)
    const lanes = [...this.#sites.values()].flatMap((site) => [...site.lanes])
    for (const lane of lanes) void this.#closeLane(lane)
    await this.#closings.settle()
  }

  #siteOf(destination: Destination): SiteState<Job> {
    const known = this.#sites.get(destination.key)
    if (known !== undefined) {
      known.destination = destination
      return known
    }
    const scope = this.#scopes.get(destination.scope.key) ?? {
      scope: destination.scope,
      sites: new Set(),
      closing: 0,
    }
    this.#scopes.set(destination.scope.key, scope)
    const site = createSite(destination, scope)
    this.#sites.set(destination.key, site)
    return site
  }

  /** How many jobs may wait here for the site to take them. */
  #mayKeep(site: SiteState<Job>): number {
    return mayKeep(site, this.#parts.shaper, this.#parts.limits, this.#inTrouble)
  }

  /** Gives waiting jobs to free sessions, then sees whether the site needs another one. */
  #pump(site: SiteState<Job>): void {
    const { line } = site
    for (const lane of [...site.lanes]) {
      if (line.length === 0) break
      if (!lane.isBusy) this.#runNext(lane)
    }
    clearTimeout(site.timer)
    if (this.#drained !== null) return
    this.#handBackExcess(site)
    // Asked once: a rest that ended between two answers would let nothing begin, and leave nobody to look again.
    const restMs = restMsOf(site, this.#parts.shaper)
    while (line.length > 0 && restMs === 0 && this.#hasRoomFor(site)) {
      if (!isBehind(site)) {
        site.timer = setTimeout(() => this.#pump(site), patienceMs)
        return
      }
      if (this.#adopt(site)) continue
      if (this.#sockets >= this.#parts.limits.sockets) {
        this.#wanting.add(site)
        this.#closeIdle()
        return
      }
      void this.#openLane(site)
    }
    this.#wanting.delete(site)
    this.#lookAgain(site, restMs)
  }

  #hasRoomFor(site: SiteState<Job>): boolean {
    const { shaper, limits } = this.#parts
    const working = this.#sockets - this.#idle.size - this.#closings.sockets
    return hasRoomFor(site, shaper, areShort(working, limits.sockets))
  }

  /** When a pause or a refusal ends; and, for a while, to forget a site that was down. */
  #lookAgain(site: SiteState<Job>, restMs: number): void {
    if (site.line.length > 0 && restMs > 0) {
      site.timer = setTimeout(() => this.#pump(site), restMs)
    } else if (site.line.length === 0 && isDown(site)) {
      // The length of the pause is remembered for a while, so that the next failure doubles it.
      site.timer = setTimeout(() => this.#forget(site), restMs + longestPauseMs).unref()
    }
  }

  /** A site that takes mails and does not get on with them (a tarpit) must not fill its worker either. */
  #look(): void {
    const { shaper, limits } = this.#parts
    this.#inTrouble = 0
    for (const site of this.#sites.values()) {
      // One that has no session waits for us, not for itself.
      look(site.progress, this.#isAnswered && site.line.length > 0 && sessionsOf(site) > 0)
      if (isInTrouble(site, shaper, limits)) this.#inTrouble += 1
    }
    this.#isAnswered = false
    // What they answered since may allow for more sessions.
    for (const site of this.#sites.values()) if (site.line.length > 0) this.#pump(site)
  }

  #handBackExcess(site: SiteState<Job>): void {
    const excess = site.line.takeBehind(this.#mayKeep(site))
    if (excess.length === 0) return
    if (site.line.length === 0) this.#wanting.delete(site)
    const { shaper, onHeldBack } = this.#parts
    const isOurs = site.lacksSocket && restsUntil(site, shaper) <= steadyNowMs()
    if (!isOurs) site.isSuspect = true
    const jobs = excess.map(({ job }) => job)
    onHeldBack(jobs, endOfRest(site, shaper), isOurs ? null : site.scope.scope)
  }

  // Sessions of other destinations

  /** Takes over a session that has no work and goes to one of the site's best hosts. */
  #adopt(site: SiteState<Job>): boolean {
    const lane = this.#idle.find(site)
    if (lane === null) return false
    this.#move(lane, site)
    return true
  }

  /** Gives a session without work to another site of its scope that has work and none, or too few, to do it. */
  #lend(lane: Lane<Job>): boolean {
    const { shareKey, site } = lane
    if (shareKey === null || site.scope.sites.size === 1) return false
    for (const other of site.scope.sites) {
      if (other === site || other.line.length === 0 || !isBehind(other)) continue
      if (
        restsUntil(other, this.#parts.shaper) > steadyNowMs() ||
        !other.destination.bestShareKeys().has(shareKey)
      )
        continue
      this.#move(lane, other)
      return true
    }
    return false
  }

  #move(lane: Lane<Job>, to: SiteState<Job>): void {
    const from = lane.site
    from.lanes.delete(lane)
    lane.site = to
    lane.carried = 0
    to.lanes.add(lane)
    this.#forget(from)
    this.#runNext(lane)
  }

  // Opening

  async #openLane(site: SiteState<Job>): Promise<void> {
    site.opening += 1
    this.#sockets += 1
    this.#wanting.delete(site)
    const grant = await this.#parts.shaper.takeConnection(site.scope.scope)
    if (!grant.isGranted || this.#drained !== null) {
      if (grant.isGranted) grant.release()
      else this.#refused(site, grant.retryAtMs)
      site.opening -= 1
      this.#sockets -= 1
      this.#pump(site)
      this.#pumpWanting()
      this.#endDrain()
      return
    }
    const opened = await this.#tryToOpen(site.destination)
    site.opening -= 1
    if ('session' in opened) {
      this.#begin(site, opened.session, grant)
    } else {
      grant.release()
      this.#endOpening(site, opened)
    }
    this.#endDrain()
  }

  /** No place is free: a session of the same scope that has no work gives way. */
  #refused(site: SiteState<Job>, retryAtMs: number): void {
    site.refusedUntilMs = retryAtMs
    site.lacksSocket = false
    for (const other of site.scope.sites) {
      const idle = [...other.lanes].find((lane) => !lane.isBusy)
      if (idle === undefined) continue
      void this.#closeLane(idle)
      return
    }
  }

  /** Never rejects. */
  async #tryToOpen(destination: Destination): Promise<{ session: Session } | FailedOpening<Job>> {
    try {
      const opened = await this.#parts.open(destination)
      if (opened.ok) return { session: opened.session }
      const { report } = opened
      return {
        lacksSocket: report.failure === 'no_socket',
        tell: (job) => job && this.#settle(job, report),
      }
    } catch (error) {
      return { lacksSocket: false, tell: (job) => this.#parts.onCrash(job, error) }
    }
  }

  #begin(site: SiteState<Job>, session: Session, grant: Grant): void {
    site.pauseMs = 0
    site.pausedUntilMs = 0
    site.refusedUntilMs = 0
    site.lacksSocket = false
    const lane: Lane<Job> = {
      site,
      session,
      grant,
      shareKey: site.destination.shareKeyOf(session.peer),
      isBusy: false,
      carried: 0,
      idleSinceMs: performance.now(),
    }
    site.lanes.add(lane)
    this.#runNext(lane)
    this.#pump(site)
  }

  /** An opening has failed: one job is told; the others wait for the end of the pause, as many as a site may keep. */
  #endOpening(site: SiteState<Job>, { lacksSocket, tell }: FailedOpening<Job>): void {
    this.#sockets -= 1
    const met = isResting(site) ? undefined : site.line.shift()
    restAfterFailure(site, lacksSocket)
    tell(met?.job ?? null)
    this.#pump(site)
    this.#forget(site)
    this.#pumpWanting()
  }

  // Running

  #runNext(lane: Lane<Job>): void {
    this.#idle.delete(lane)
    const { session, site, grant } = lane
    const { mailsPerConnection } = this.#parts.shaper.limitsOf(site.scope.scope)
    const isWornOut = !session.isUsable || !grant.isValid() || session.sent >= mailsPerConnection
    if (isWornOut || this.#drained !== null || restsUntil(site, this.#parts.shaper) > steadyNowMs()) {
      void this.#closeLane(lane).then(() => this.#pump(site))
      return
    }
    if (site.line.length === 0 && this.#lend(lane)) return
    if (this.#isNeededElsewhere(lane)) {
      // It has had its turn: at the places of its scope others come before it now.
      const { sites } = site.scope
      if (sites.delete(site)) sites.add(site)
      void this.#closeLane(lane)
      return
    }
    if (site.line.length === 0) {
      this.#idle.add(lane)
      return
    }
    const next = site.line.shift()
    if (site.line.length === 0) this.#wanting.delete(site)
    if (next !== undefined) void this.#run(lane, next)
  }

  /** Waits for the right to a mail; false when the session is not to be used for it after all. */
  async #mayBegin(lane: Lane<Job>): Promise<boolean> {
    const right = this.#parts.shaper.takeMail(lane.site.scope.scope)
    if (right === null) return true
    await Promise.race([right, this.#draining.promise])
    return this.#drained === null && lane.session.isUsable && lane.grant.isValid()
  }

  /**
   * At the bound on all sockets: a session without work gives way to any site that wants one, and one with work to a site that
   * has fewer, so that sites which come late, or were few for a while, have their share soon. (A site's only session gives way
   * when it is worn out.) At the bound of a scope a site's second session gives way to a site that has none, and an only
   * session after its turn.
   */
  #isNeededElsewhere(lane: Lane<Job>): boolean {
    const { site } = lane
    if (this.#isNeededInScope(lane)) return true
    if (this.#wanting.size <= this.#closings.socketsSoonFree) return false
    if (site.line.length === 0) return true
    if (site.lanes.size === 1) return false
    let wanted = 0
    for (const other of this.#wanting) {
      wanted += wouldGainFrom(site, other, this.#parts.shaper)
      if (wanted > this.#closings.socketsSoonFree) return true
    }
    return false
  }

  #isNeededInScope(lane: Lane<Job>): boolean {
    const { site, carried } = lane
    const { scope } = site
    if (scope.sites.size === 1) return false
    if (site.line.length > 0 && site.lanes.size === 1 && carried < mailsPerTurn) return false
    const now = steadyNowMs()
    let starving = 0
    for (const other of scope.sites) if (isStarving(other) && other.refusedUntilMs > now) starving += 1
    return starving > scope.closing
  }

  async #run(lane: Lane<Job>, waiting: Waiting<Job>): Promise<void> {
    this.#running += 1
    lane.isBusy = true
    lane.carried += 1
    const wasFresh = lane.session.sent === 0
    const idleMs = performance.now() - lane.idleSinceMs
    try {
      const report = await waiting.job.run(lane.session, () => this.#mayBegin(lane))
      // Ends: every stale session is one fewer, and a fresh one is never called stale.
      if (report === 'withdrawn') {
        // It is somebody else's; the session has work for others.
      } else if (report === null || (!wasFresh && this.#drained === null && wasGivenUp(report, idleMs))) {
        this.#takeBack(lane.site, waiting)
      } else {
        if (report.reply !== null) this.#noteAnswer(lane.site)
        this.#settle(waiting.job, report)
      }
    } catch (error) {
      this.#parts.onCrash(waiting.job, error)
    }
    this.#running -= 1
    lane.isBusy = false
    lane.idleSinceMs = performance.now()
    const { site } = lane
    this.#runNext(lane)
    // Each of the first answers allows for another session.
    const { connections } = this.#parts.shaper.limitsOf(site.scope.scope)
    if (site.line.length > 0 && site.answered <= connections) this.#pump(site)
    this.#endDrain()
  }

  #noteAnswer(site: SiteState<Job>): void {
    this.#isAnswered = true
    site.answered += 1
    countAnswer(site.progress)
    if (site.isSuspect && isCleared(site, this.#parts.limits)) site.isSuspect = false
  }

  /** It was not begun, and is the next again. */
  #takeBack(site: SiteState<Job>, waiting: Waiting<Job>): void {
    if (this.#drained === null) site.line.putBack(waiting)
    else this.#parts.onHeldBack([waiting.job], steadyNowMs(), site.scope.scope)
  }

  #settle(job: Job, report: TransactionReport): void {
    try {
      job.settle(report)
    } catch (error) {
      this.#parts.onCrash(job, error)
    }
  }

  // Closing

  /** Those that wait for a socket have it as soon as it is closed. Resolves when the place is given up as well. */
  async #closeLane(lane: Lane<Job>): Promise<void> {
    const { site, session } = lane
    const { scope } = site
    if (!site.lanes.delete(lane)) return
    // It has left us: what it answered before says nothing of what it will do. Some do so after each mail.
    if (sessionsOf(site) === 0 && !session.isUsable && !site.progress.isFresh) site.answered = 0
    this.#idle.delete(lane)
    await this.#closings.close(lane, {
      isSeenLater: scope.scope.kind === 'mx' && this.#drained === null,
      onClosed: () => {
        this.#sockets -= 1
        this.#pumpWanting()
      },
      onGone: () => {
        this.#forget(site)
        this.#pumpScope(scope)
      },
    })
  }

  /** A site without sessions, jobs and a pause is nothing to remember. */
  #forget(site: SiteState<Job>): void {
    const isQuiet = site.lanes.size === 0 && site.opening === 0 && site.line.length === 0
    if (!isQuiet || site.pausedUntilMs > steadyNowMs()) return
    clearTimeout(site.timer)
    this.#wanting.delete(site)
    if (this.#sites.get(site.destination.key) === site) this.#sites.delete(site.destination.key)
    const { scope } = site
    scope.sites.delete(site)
    if (scope.sites.size > 0 || scope.closing > 0) return
    if (this.#scopes.get(scope.scope.key) === scope) this.#scopes.delete(scope.scope.key)
  }

  /** A place has come free, or the limits have changed: those that have nobody come first. */
  #pumpScope(scope: ScopeState<Job> | undefined): void {
    if (scope === undefined || this.#drained !== null) return
    const waiting = [...scope.sites].filter((site) => site.line.length > 0)
    for (const site of waiting) site.refusedUntilMs = 0
    for (const site of waiting.filter(isStarving)) this.#pump(site)
    for (const site of waiting) this.#pump(site)
  }

  /** A socket has come free: those that have the fewest come first. */
  #pumpWanting(): void {
    if (this.#sockets >= this.#parts.limits.sockets) return
    for (const site of [...this.#wanting].sort((a, b) => sessionsOf(a) - sessionsOf(b))) {
      if (this.#sockets >= this.#parts.limits.sockets) return
      this.#wanting.delete(site)
      this.#pump(site)
    }
  }

  /** Makes room: a session that waits for work gives way to work that waits for a session. */
  #closeIdle(): void {
    if (this.#wanting.size <= this.#closings.socketsSoonFree) return
    const lane = this.#idle.pickAny()
    if (lane !== null) void this.#closeLane(lane)
  }

  #endDrain(): void {
    if (this.#drained === null || this.#running > 0) return
    for (const site of this.#sites.values()) {
      clearTimeout(site.timer)
      if (site.opening > 0) return
    }
    this.#drained.resolve()
  }
}
