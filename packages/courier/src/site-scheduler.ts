/**
 * Runs leased deliveries, in this process, on sessions to their sites.
 *
 * A site is a peer that sessions can be shared for. Its jobs wait in one line, in which tenants take turns, and run on
 * whichever of its sessions comes free; another session is opened only when the line grows faster than it moves, and more at
 * once only while opening succeeds.
 *
 * A site that cannot be reached is tried again after a pause. Each time one job is told why; the others keep their places, so
 * an outage costs the database nothing and ends with the first connection that succeeds. What is beyond a site's share is
 * handed back until the pause is over, so that a site that is down does not fill its worker.
 */
import type { TransactionReport } from '@valija/core'
import type { OpenSession, Session } from './session.ts'
import { type Turned, TurnLine } from './turn-line.ts'

/** One delivery. */
export interface SiteJob {
  /** Who it is for, such as a tenant's stream: parties take turns, however much one of them has waiting. */
  readonly turn: string
  /** The transaction: composes, sends, never rejects. Runs again, on another session, if the peer had given the first one up. */
  run(session: Session): Promise<TransactionReport>
  /** Told once how it ended: the report of its run, or of the opening that failed before it could run. */
  settle(report: TransactionReport): void
}

export interface SiteLimits {
  /** Sessions of one site at the same time. */
  connectionsPerSite: number
  /** After this many mails a session is closed. */
  mailsPerConnection: number
  /** A session without work is kept this long. */
  idleMs: number
  /** Connections of all sites together, those being opened included. */
  sockets: number
  /** Jobs that a site keeps while it cannot be reached. */
  waitingWhileDown: number
}

export interface SiteSchedulerParts<Job extends SiteJob> {
  open: (siteKey: string) => ReturnType<OpenSession>
  limits: SiteLimits
  /** These jobs were not begun and are the caller's again; their site takes no connection before `untilMs` (`Date.now()`). */
  onHeldBack: (jobs: Job[], untilMs: number) => void
  /** A job broke its promise not to reject, or `settle` threw, or `open`, perhaps for no job any more; the job is the caller's again. */
  onCrash: (job: Job | null, error: unknown) => void
}

export interface SiteScheduler<Job extends SiteJob> {
  submit(siteKey: string, job: Job): void
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

/** The first pause after a failed opening; doubles up to the longest. Minutes are the business of shaping rules. */
const firstPauseMs = 250
const longestPauseMs = 5_000

/** A job that waited this long for a busy session is reason enough for another one; below, sessions come free soon. */
const patienceMs = 20

/** More jobs than this for each session: no need to wait and see. */
const jobsPerSession = 2

interface Waiting<Job> extends Turned {
  job: Job
  sinceMs: number
}

interface Lane {
  site: SiteState
  session: Session
  isBusy: boolean
  idleTimer: NodeJS.Timeout | undefined
}

interface SiteState {
  key: string
  lanes: Set<Lane>
  opening: number
  pauseMs: number
  pausedUntilMs: number
  /** Looks again after the patience or the pause is over. */
  timer: NodeJS.Timeout | undefined
}

export function createSiteScheduler<Job extends SiteJob>(parts: SiteSchedulerParts<Job>): SiteScheduler<Job> {
  return new Scheduler(parts)
}

class Scheduler<Job extends SiteJob> implements SiteScheduler<Job> {
  readonly #parts: SiteSchedulerParts<Job>
  readonly #sites = new Map<string, SiteState>()
  readonly #lines = new Map<SiteState, TurnLine<Waiting<Job>>>()
  /** Sites that would open a connection if the bound on all sockets let them, longest waiting first. */
  readonly #wanting = new Set<SiteState>()
  #sockets = 0
  #running = 0
  readonly #closings = new Set<Promise<void>>()
  #drained: PromiseWithResolvers<void> | null = null

  constructor(parts: SiteSchedulerParts<Job>) {
    this.#parts = parts
  }

  get sockets(): number {
    return this.#sockets
  }

  get waiting(): number {
    let count = 0
    for (const line of this.#lines.values()) count += line.length
    return count
  }

  submit(siteKey: string, job: Job): void {
    const site = this.#siteOf(siteKey)
    const line = this.#lineOf(site)
    const isFull = isDown(site) && line.length >= this.#parts.limits.waitingWhileDown
    if (this.#drained !== null || isFull) {
      this.#parts.onHeldBack([job], this.#drained === null ? endOfPause(site) : Date.now())
      return
    }
    line.push({ job, turn: job.turn, sinceMs: performance.now() })
    this.#pump(site)
  }

  withdraw(isOver: (job: Job) => boolean): Job[] {
    return [...this.#lines.values()].flatMap((line) =>
      line.takeWhere(({ job }) => isOver(job)).map(({ job }) => job),
    )
  }

  drain(): { returned: Job[]; done: Promise<void> } {
    this.#drained ??= Promise.withResolvers<void>()
    const returned: Job[] = []
    for (const line of this.#lines.values()) {
      for (const { job } of line.takeAll()) returned.push(job)
    }
    this.#wanting.clear()
    this.#endDrain()
    return { returned, done: this.#drained.promise }
  }

  async close(): Promise<void> {
    await this.drain().done
    const lanes = [...this.#sites.values()].flatMap((site) => [...site.lanes])
    for (const lane of lanes) void this.#closeLane(lane)
    await Promise.all(this.#closings)
  }

  #siteOf(key: string): SiteState {
    const known = this.#sites.get(key)
    if (known !== undefined) return known
    const site: SiteState = {
      key,
      lanes: new Set(),
      opening: 0,
      pauseMs: 0,
      pausedUntilMs: 0,
      timer: undefined,
    }
    this.#sites.set(key, site)
    this.#lines.set(site, new TurnLine())
    return site
  }

  #lineOf(site: SiteState): TurnLine<Waiting<Job>> {
    return this.#lines.get(site) ?? new TurnLine()
  }

  /** Gives waiting jobs to free sessions, then sees whether the site needs another one. */
  #pump(site: SiteState): void {
    const line = this.#lineOf(site)
    for (const lane of site.lanes) {
      if (line.length === 0) break
      if (!lane.isBusy) this.#runNext(lane)
    }
    clearTimeout(site.timer)
    if (this.#drained !== null) return
    while (line.length > 0 && this.#hasRoomFor(site)) {
      if (!this.#isBehind(site)) {
        site.timer = setTimeout(() => this.#pump(site), patienceMs)
        return
      }
      if (this.#sockets >= this.#parts.limits.sockets) {
        this.#wanting.add(site)
        this.#closeIdlest()
        return
      }
      void this.#openLane(site)
    }
    const restMs = Math.max(0, site.pausedUntilMs - Date.now())
    if (line.length > 0 && restMs > 0) site.timer = setTimeout(() => this.#pump(site), restMs)
    // The length of the pause is remembered for a while, so that the next failure doubles it.
    if (line.length === 0 && isDown(site))
      site.timer = setTimeout(() => this.#forget(site), restMs + longestPauseMs).unref()
  }

  /** One attempt at first and after a failure; as many at a time as there are sessions while it goes well. */
  #hasRoomFor(site: SiteState): boolean {
    const atOnce = site.pauseMs > 0 ? 1 : Math.max(1, site.lanes.size)
    const { connectionsPerSite } = this.#parts.limits
    if (site.pausedUntilMs > Date.now() || site.opening >= atOnce) return false
    return site.lanes.size + site.opening < connectionsPerSite && site.opening < this.#lineOf(site).length
  }

  #isBehind(site: SiteState): boolean {
    const line = this.#lineOf(site)
    const next = line.peek()
    if (site.lanes.size === 0 || next === undefined) return true
    return line.length > jobsPerSession * site.lanes.size || performance.now() - next.sinceMs >= patienceMs
  }

  async #openLane(site: SiteState): Promise<void> {
    site.opening += 1
    this.#sockets += 1
    this.#wanting.delete(site)
    const opened = await this.#tryToOpen(site.key)
    site.opening -= 1
    if ('session' in opened) this.#begin(site, opened.session)
    else this.#endOpening(site, opened.tell)
    this.#endDrain()
  }

  /** Never rejects. `tell` says what the failure is for the job that meets it. */
  async #tryToOpen(siteKey: string): Promise<{ session: Session } | { tell: (job: Job | null) => void }> {
    try {
      const opened = await this.#parts.open(siteKey)
      if (opened.ok) return { session: opened.session }
      return { tell: (job) => job && this.#settle(job, opened.report) }
    } catch (error) {
      return { tell: (job) => this.#parts.onCrash(job, error) }
    }
  }

  #begin(site: SiteState, session: Session): void {
    site.pauseMs = 0
    site.pausedUntilMs = 0
    const lane: Lane = { site, session, isBusy: false, idleTimer: undefined }
    site.lanes.add(lane)
    this.#runNext(lane)
    this.#pump(site)
  }

  /** An opening has failed: one job is told; the others wait for the end of the pause, as many as a site may keep. */
  #endOpening(site: SiteState, tell: (job: Job | null) => void): void {
    this.#sockets -= 1
    const line = this.#lineOf(site)
    const isPausedAlready = site.pausedUntilMs > Date.now()
    const met = isPausedAlready ? undefined : line.shift()
    site.pauseMs = Math.min(Math.max(site.pauseMs * 2, firstPauseMs), longestPauseMs)
    site.pausedUntilMs = Date.now() + site.pauseMs
    tell(met?.job ?? null)
    const excess = isDown(site) ? line.takeBehind(this.#parts.limits.waitingWhileDown) : []
    if (excess.length > 0) {
      this.#parts.onHeldBack(
        excess.map(({ job }) => job),
        site.pausedUntilMs,
      )
    }
    this.#pump(site)
    this.#pumpWanting()
  }

  #runNext(lane: Lane): void {
    clearTimeout(lane.idleTimer)
    const { session, site } = lane
    const isWornOut = !session.isUsable || session.sent >= this.#parts.limits.mailsPerConnection
    if (isWornOut || this.#drained !== null) {
      void this.#closeLane(lane).then(() => this.#pump(site))
      return
    }
    if (this.#isNeededElsewhere(lane)) {
      void this.#closeLane(lane)
      return
    }
    const next = this.#lineOf(site).shift()
    if (next === undefined) {
      lane.idleTimer = setTimeout(() => void this.#closeLane(lane), this.#parts.limits.idleMs)
      return
    }
    lane.isBusy = true
    void this.#run(lane, next)
  }

  /**
   * At the bound on all sockets: a session without work gives way to any site that wants one, and a site's second session to a
   * site that has none. (Its only session does so when it is worn out.)
   */
  #isNeededElsewhere(lane: Lane): boolean {
    if (this.#wanting.size <= this.#closings.size) return false
    if (this.#lineOf(lane.site).length === 0) return true
    return lane.site.lanes.size > 1 && this.#starving().length > this.#closings.size
  }

  #starving(): SiteState[] {
    return [...this.#wanting].filter((site) => site.lanes.size === 0 && site.opening === 0)
  }

  async #run(lane: Lane, waiting: Waiting<Job>): Promise<void> {
    this.#running += 1
    const wasFresh = lane.session.sent === 0
    try {
      const report = await waiting.job.run(lane.session)
      // Ends: every stale session is one fewer, and a fresh one is never called stale.
      if (!wasFresh && this.#drained === null && isLostBeforeMail(report)) {
        this.#lineOf(lane.site).putBack(waiting)
      } else {
        this.#settle(waiting.job, report)
      }
    } catch (error) {
      this.#parts.onCrash(waiting.job, error)
    }
    this.#running -= 1
    lane.isBusy = false
    this.#runNext(lane)
    this.#endDrain()
  }

  #settle(job: Job, report: TransactionReport): void {
    try {
      job.settle(report)
    } catch (error) {
      this.#parts.onCrash(job, error)
    }
  }

  /** The socket counts until it is closed; the site may look for another at once. */
  async #closeLane(lane: Lane): Promise<void> {
    if (!lane.site.lanes.delete(lane)) return
    clearTimeout(lane.idleTimer)
    const closing = lane.session.close()
    this.#closings.add(closing)
    await closing
    this.#closings.delete(closing)
    this.#sockets -= 1
    this.#forget(lane.site)
    this.#pumpWanting()
  }

  /** A site without sessions, jobs and a pause is nothing to remember. */
  #forget(site: SiteState): void {
    const isQuiet = site.lanes.size === 0 && site.opening === 0 && this.#lineOf(site).length === 0
    if (!isQuiet || site.pausedUntilMs > Date.now()) return
    clearTimeout(site.timer)
    this.#sites.delete(site.key)
    this.#lines.delete(site)
    this.#wanting.delete(site)
  }

  #pumpWanting(): void {
    for (const site of new Set([...this.#starving(), ...this.#wanting])) {
      if (this.#sockets >= this.#parts.limits.sockets) return
      this.#wanting.delete(site)
      this.#pump(site)
    }
  }

  /** Makes room: a session that waits for work gives way to work that waits for a session. */
  #closeIdlest(): void {
    for (const site of this.#sites.values()) {
      for (const lane of site.lanes) {
        if (!lane.isBusy) {
          void this.#closeLane(lane)
          return
        }
      }
    }
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

/** Its last opening failed, and no session is left. */
function isDown(site: SiteState): boolean {
  return site.lanes.size === 0 && site.pauseMs > 0
}

/** While it is being tried anew nobody knows: as if that failed at once. */
function endOfPause(site: SiteState): number {
  const now = Date.now()
  return site.pausedUntilMs > now ? site.pausedUntilMs : now + site.pauseMs
}

/** The peer had given up an idle session: the mail was not begun, and says nothing of the site. */
function isLostBeforeMail(report: TransactionReport): boolean {
  if (report.phase !== 'mail') return false
  return report.reply === null ? report.failure === 'connection_lost' : report.reply.code === 421
}
