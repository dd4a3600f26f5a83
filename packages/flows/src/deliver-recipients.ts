/**
 * The worker's way of a mail: hint → lease → route → destination → site scheduler → compose → session → judge → settle.
 *
 * A hint is completed as soon as its rows are leased and handed to the site scheduler: from there on the lease owns the work.
 * Bounded by the number of leases held, so a slow world makes hints wait and not memory grow.
 */
import {
  crashesOfSuspect,
  type IdSource,
  isEnd,
  type Judge,
  type MailLog,
  type RetryPolicy,
  steadyNowMs,
  type TransactionReport,
  type UnsubscribeTokens,
  type Uuid,
} from '@valija/core'
import type {
  Session,
  ShapingScope,
  SiteJob,
  SiteScheduler,
  TlsReports,
  TransactionGuard,
} from '@valija/courier'
import { parseAddress } from '@valija/mail'
import {
  type Database,
  type DatabaseClock,
  deleteOrphans,
  type Hint,
  type LeasedDelivery,
  leaseDeliveries,
  readmit,
  renewLeases,
  type Wake,
} from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import { ComposeError, type Compositions, createCompositions, NoRoomError } from './compositions.ts'
import { createDotMarks, type DotMarks } from './dot-marks.ts'
import { failedReport, lostReport } from './failed-report.ts'
import type { Destinations, Found } from './find-destination.ts'
import { createGiveBackDesk, type GiveBackDesk } from './give-back.ts'
import { createHandOvers, type HandOvers } from './hand-overs.ts'
import { createHeldLeases, type HeldLease, type HeldLeases } from './held-leases.ts'
import { type Cell, createIsolation, type Isolation } from './isolate-suspects.ts'
import { complain, discard, expire, type JudgeDependencies, judgeAttempt, suppress } from './judge-attempt.ts'
import { firstOf, pauseUnless, unlessStopped } from './pause.ts'
import { hearRecalls, recalledForMs } from './recall-mail.ts'
import type { ReportFields } from './report-fields.ts'
import type { ReturnPaths } from './return-path.ts'
import type { ChosenRoute, RouteChoice, RouteChooser, TakenWay } from './route-choice.ts'
import { createSettleDesk, roomPayload, type SettleDesk } from './settle-desk.ts'
import { settleReport } from './settle-report.ts'
import { type MailSigner, SigningError, signingOf } from './sign-mail.ts'
import { simulateAttempt } from './simulate-attempt.ts'
import type { SiteGate } from './site-observer.ts'
import { dueAgain, giveBack, watchExpiry, withdrawMail } from './withdraw-deliveries.ts'

export interface Deliverer {
  /** Works on one hint; resolves when its rows are leased and in hand. */
  takeHint(hint: Hint): Promise<void>
  /** Leases deliveries whose time is over and ends them; resolves when they have ended, with how many have. */
  endExpired(ids: Uuid[]): Promise<number>
  /** Takes no more: what was not begun is given back, and so are the rows of hints that wait for room or still come. */
  stop(): void
  /** Stops, waits for what is in conversation, and settles all that has an end. No hint may come after it. */
  drain(): Promise<void>
  /** Works on one delivery that another process has leased and keeps for us; resolves when it is settled or given back. */
  deliverFor(delivery: LeasedDelivery): Promise<void>
  /** Cuts the conversations that a drain waits for: their mails are deferred, past the final dot as uncertain. */
  hurry(): void
  /** Deliveries leased by this worker. */
  readonly leased: number
  /** PostgreSQL takes no results now: they are kept, and nothing new is begun. */
  readonly isHeldUp: boolean
}

export interface DelivererDependencies {
  database: Database
  clock: DatabaseClock
  nextId: IdSource
  wake: Wake
  mailLog: MailLog
  signer: MailSigner
  unsubscribeTokens: UnsubscribeTokens
  reportFields: ReportFields
  routing: RouteChooser
  destinations: Destinations
  /** The envelope sender (DESIGN 4.9, 4.10). */
  returnPaths: Pick<ReturnPaths, 'of'>
  shaping: SiteGate
  tlsReports: Pick<TlsReports, 'countSession'>
  judge: Judge
  retryPolicy: RetryPolicy
  /** Deliveries leased at the same time at most, those apart whose way is being looked up. */
  maxLeased: number
  /** Mails at most that are past their final dot and not on record yet. */
  maxHandedOver: number
  /** Starts a process that delivers what is suspected of ending its worker; null in such a process. */
  openCell: (() => Promise<Cell>) | null
  /** Somebody should look at this mail, which ended every process that had it: it has failed, and that is committed. */
  onGivenUp: (delivery: LeasedDelivery) => void
  /** Makes the scheduler, given what to do with jobs that it hands back. */
  createSites: (callbacks: SiteCallbacks) => SiteScheduler<DeliveryJob>
  onError: (error: Error) => void
}

export interface SiteCallbacks {
  onHeldBack: (jobs: DeliveryJob[], untilMs: number, scope: ShapingScope) => void
  onCrash: (job: DeliveryJob | null, error: unknown) => void
}

export interface DeliveryJob extends SiteJob {
  readonly delivery: LeasedDelivery
  readonly lease: HeldLease
  readonly routeKey: string
}

/** A delivery whose turn crashed waits this long. */
const crashPauseMs = 5_000
/** A large mail that found no room in this worker waits for so long; others of its tenant are under way meanwhile. */
const noRoomPauseMs = 5_000
/** Deliveries whose way may be being looked up, for each that is on its way. */
const lookedUpPerLease = 3
/** The simulator complains this long after it took the mail. */
const complaintAfterMs = 1_000
/**
 * More rows than these a second that were more than their site may keep: the next hint is taken so much later. They come and go,
 * however many wait, and others' mail is late by this at most.
 */
const excess = { rowsPerSecond: 250, pauseMs: 500 }

interface InHand {
  delivery: LeasedDelivery
  lease: HeldLease
}

interface Parts extends DelivererDependencies {
  leases: HeldLeases
  compositions: Compositions
  desk: SettleDesk
  backDesk: GiveBackDesk
  dots: DotMarks
  handOvers: HandOvers
  isolation: Isolation | null
  judging: JudgeDependencies
  sites: SiteScheduler<DeliveryJob>
  /** Deliveries whose way is being looked up. */
  placing: Set<Promise<void>>
  /** Conversations under way. */
  running: Map<Session, Promise<unknown>>
  stopping: AbortSignal
}

export function createDeliverer(dependencies: DelivererDependencies): Deliverer {
  const [stopping, hurried] = [new AbortController(), new AbortController()]
  const { parts, heldBack } = openParts(dependencies, stopping.signal, hurried.signal)
  const { leases, sites } = parts
  const expiryTimer = watchExpiry(parts)
  const stopRecalls = hearRecalls(parts.wake, leases, (isMeant) => withdrawMail(parts, isMeant))
  const stopHearing = parts.routing.onUnavailable((routeKey) => {
    // Not in the middle of what the scheduler is doing.
    setImmediate(() => placeAnew(parts, routeKey))
  })

  const take = async (hint: Hint): Promise<void> => {
    await firstOf(
      stopping.signal,
      leases.waitUntil(() => hasRoom(parts)),
    )
    if (stopping.signal.aborted) return returnHint(parts, hint)
    const before = heldBack.rows
    await leaseHint(parts, hint)
    if (heldBack.rows > before && heldBack.isOver) await pauseUnless(stopping.signal, excess.pauseMs)
  }
  const taking = new Set<Promise<unknown>>()
  const track = <T>(work: Promise<T>): Promise<T> => {
    const tracked = work.finally(() => taking.delete(tracked))
    taking.add(tracked)
    return tracked
  }
  const stop = () => {
    stopping.abort()
    clearInterval(expiryTimer)
    stopHearing()
    stopRecalls()
    giveBack(parts.backDesk, sites.drain().returned, 0, null)
    parts.isolation?.stop()
  }
  const cut = Promise.withResolvers<void>()
  return {
    takeHint: (hint) => track(take(hint)),
    endExpired: (ids) => track(endExpired(parts, ids)),
    stop,
    deliverFor: async (delivery) => {
      const lease = await takeOver(parts, delivery)
      if (lease === null) return
      begin(parts, delivery, lease)
      await leases.waitUntil(() => leases.size === 0)
    },
    drain: async () => {
      stop()
      await Promise.allSettled(taking)
      await Promise.allSettled(parts.placing)
      await Promise.race([Promise.all([sites.close(), parts.isolation?.drain()]), cut.promise])
      await Promise.all([parts.desk.drain(), parts.backDesk.drain()])
      leases.stop()
    },
    hurry: () => {
      hurried.abort()
      parts.desk.hurry()
      parts.isolation?.hurry()
      void Promise.all([cutConversations(parts), parts.isolation?.drain()]).then(() => cut.resolve())
    },
    get leased() {
      return leases.size
    },
    get isHeldUp() {
      return parts.desk.isHeldUp
    },
  }
}

function openParts(
  dependencies: DelivererDependencies,
  stopping: AbortSignal,
  hurried: AbortSignal,
): { parts: Parts; heldBack: HeldBack } {
  const { database, clock, nextId, wake, mailLog, judge, retryPolicy, onError } = dependencies
  const leases = createHeldLeases(database, onError)
  const backDesk = createGiveBackDesk({ database, wake, leases, hurried, onError })
  const { sites, heldBack } = openSites(dependencies, backDesk)
  const desk = createSettleDesk({ database, wake, mailLog, leases, onError })
  const judging = { nextId, nowMs: clock.nowMs, judge, retryPolicy, random: Math.random }
  const parts: Parts = {
    ...dependencies,
    leases,
    compositions: createCompositions(dependencies),
    desk,
    backDesk,
    dots: createDotMarks(database, leases, onError),
    handOvers: createHandOvers(dependencies.maxHandedOver),
    isolation: openIsolation(dependencies, { leases, desk, backDesk, judging, stopping }),
    judging,
    sites,
    placing: new Set(),
    running: new Map(),
    stopping,
  }
  return { parts, heldBack }
}

/**
 * Deliveries whose way is being looked up hold nothing but their lease: a DNS that answers slowly, or not at all, keeps only so
 * many of them, and nothing else waits for it. While results cannot be written nothing is begun: should we end then, whatever had
 * been sent would be sent again. The lease that goes with the first result that is written wakes whoever waits.
 */
function hasRoom({ desk, leases, placing, isolation, maxLeased }: Parts): boolean {
  if (desk.isHeldUp) return false
  const beside = Math.min(placing.size, lookedUpPerLease * maxLeased) + (isolation?.size ?? 0)
  return leases.size - beside < maxLeased
}

function openIsolation(
  { database, openCell, onGivenUp, onError }: DelivererDependencies,
  {
    leases,
    desk,
    backDesk,
    judging,
    stopping,
  }: Pick<Parts, 'leases' | 'desk' | 'backDesk' | 'judging' | 'stopping'>,
): Isolation | null {
  if (openCell === null) return null
  const giveUp = (
    delivery: LeasedDelivery,
    lease: HeldLease,
    { cells, isPastDot }: { cells: number; isPastDot: boolean },
  ) => {
    const detail = `${delivery.crashes} processes in a row died or hung while they had this mail, and then ${cells} of ${cells} that had nothing else to do.`
    const report = lostReport(delivery.route, 'crash', detail, isPastDot)
    desk.settle(
      delivery,
      lease,
      judgeAttempt(judging, delivery, report, () => null),
      report,
      () => onGivenUp(delivery),
    )
  }
  return createIsolation({ database, leases, backDesk, openCell, giveUp, stopping, onError })
}

/** The delivery of somebody who keeps its lease alive as well; null when it is not theirs any more. */
async function takeOver(
  { database, leases, stopping }: Parts,
  delivery: LeasedDelivery,
): Promise<HeldLease | null> {
  const { recipientId, epoch } = delivery
  for (;;) {
    const askedAtMs = performance.now()
    const renewed = await askPatiently(() => renewLeases(database.engine, [{ recipientId, epoch }]), stopping)
    const renewal = renewed.get(recipientId)
    if (renewal === undefined) return null
    // A busy one is being renewed by them this moment.
    if (renewal === 'renewed') return leases.add(delivery, askedAtMs)
  }
}

function openSites(
  { createSites, onError }: DelivererDependencies,
  backDesk: GiveBackDesk,
): { sites: SiteScheduler<DeliveryJob>; heldBack: HeldBack } {
  const heldBack = new HeldBack()
  const sites = createSites({
    onHeldBack: (jobs, untilMs, scope) => {
      heldBack.add(jobs.length)
      giveBack(backDesk, jobs, untilMs, `site:${scope.key}`)
    },
    onCrash: (job, error) => {
      onError(error as Error)
      if (job) giveBack(backDesk, [job], steadyNowMs() + crashPauseMs, null)
    },
  })
  return { sites, heldBack }
}

/** Counts rows that were more than their site may keep. */
class HeldBack {
  rows = 0
  #since = { rows: 0, atMs: performance.now() }

  add(rows: number): void {
    if (performance.now() - this.#since.atMs >= 1_000) {
      this.#since = { rows: this.rows, atMs: performance.now() }
    }
    this.rows += rows
  }

  /** There were too many of them in the second of the last. */
  get isOver(): boolean {
    return this.rows - this.#since.rows > excess.rowsPerSecond
  }
}

async function leaseHint(parts: Parts, hint: Hint): Promise<InHand[]> {
  let askedAtMs = 0
  const { deliveries, orphans } = await askPatiently(() => {
    askedAtMs = performance.now()
    return leaseDeliveries(parts.database.engine, hint.ids)
  }, parts.stopping)
  if (deliveries.length > 0) parts.wake.send('dispatch', roomPayload)
  const inHand = deliveries.map((delivery) => {
    const lease = parts.leases.add(delivery, askedAtMs)
    begin(parts, delivery, lease)
    return { delivery, lease }
  })
  if (orphans.length === 0) return inHand
  parts.onError(new Error(`${orphans.length} deliveries without their recipient or message are dropped`))
  await askPatiently(() => deleteOrphans(parts.database.engine, orphans), parts.stopping)
  return inHand
}

/** Ends those whose time is over, and waits for it: they come in thousands. They need no room. */
async function endExpired(parts: Parts, ids: Uuid[]): Promise<number> {
  const { leases, stopping } = parts
  if (stopping.aborted) {
    await returnHint(parts, { ids })
    return 0
  }
  const ending = (await leaseHint(parts, { ids })).filter(({ delivery }) => delivery.isExpired)
  await firstOf(
    stopping,
    leases.waitUntil(() => !ending.some(({ lease }) => leases.holds(lease))),
  )
  return ending.filter(({ lease }) => !leases.holds(lease)).length
}

/** The rows of a hint that this worker takes no more: another one may have them at once. When it cannot be told, the sweep finds them. */
async function returnHint({ database, wake }: Parts, hint: Hint): Promise<void> {
  await readmit(database.engine, hint.ids)
  wake.send('dispatch')
}

/** Decides what a leased delivery needs: most go to their site; some end without a conversation. */
function begin(parts: Parts, delivery: LeasedDelivery, lease: HeldLease): void {
  const { desk, judging, clock } = parts
  if (isEnd(delivery.status)) {
    const hasComplaint = delivery.simulation === 'complained' && delivery.status === 'delivered'
    desk.settle(delivery, lease, hasComplaint ? complain(judging, delivery) : discard(delivery))
  } else if (delivery.isPastDot && delivery.atMostOnce) {
    const detail = 'The worker that had handed the whole mail over ended before it could read the reply.'
    const report = lostReport(delivery.route, 'worker_lost', detail, true)
    desk.settle(
      delivery,
      lease,
      judgeAttempt(judging, delivery, report, () => null),
      report,
    )
  } else if (delivery.isErased) {
    parts.backDesk.giveBack([lease], steadyNowMs() + recalledForMs, null)
  } else if (delivery.suppression) {
    desk.settle(delivery, lease, suppress(judging, delivery, delivery.suppression))
  } else if (delivery.isExpired) {
    desk.settle(delivery, lease, expire(judging, delivery))
  } else if (delivery.simulation !== null) {
    const startedAt = new Date(clock.nowMs())
    const report = simulateAttempt(delivery.simulation, delivery.attempts, startedAt)
    const settlement = judgeAttempt(judging, delivery, report, () => null)
    const willComplain = delivery.simulation === 'complained' && settlement.nextInMs === null
    desk.settle(
      delivery,
      lease,
      willComplain ? { ...settlement, nextInMs: complaintAfterMs } : settlement,
      report,
    )
  } else if (isSuspect(delivery) && parts.isolation) {
    parts.isolation.take(delivery, lease)
  } else {
    placeSoon(parts, delivery, lease)
  }
}

function isSuspect({ crashes }: LeasedDelivery): boolean {
  return crashes >= crashesOfSuspect
}

function placeSoon(parts: Parts, delivery: LeasedDelivery, lease: HeldLease): void {
  const placed = place(parts, delivery, lease).finally(() => parts.placing.delete(placed))
  parts.placing.add(placed)
}

/** What waits in line for a route that others are to be taken instead of is asked about again; it keeps its lease. */
function placeAnew(parts: Parts, routeKey: string): void {
  if (parts.stopping.aborted) return
  const withdrawn = parts.sites.withdraw((job) => job.routeKey === routeKey)
  for (const { delivery, lease } of withdrawn) placeSoon(parts, delivery, lease)
}

/** Looks the delivery's way up and puts it into the line of its site. No connection is held meanwhile, only the lease. */
async function place(parts: Parts, delivery: LeasedDelivery, lease: HeldLease): Promise<void> {
  const { stopping, backDesk } = parts
  try {
    const way = await unlessStopped(stopping, findWay(parts, delivery))
    if (way === 'stopped' || lease.isRecalled) backDesk.giveBack([lease], dueAgain(lease), null)
    else if (way.kind === 'hold') backDesk.giveBack([lease], way.untilMs, way.hold)
    else if (way.found.ok) {
      parts.sites.submit(way.found.destination, createJob(parts, delivery, lease, way.taken, way.found))
    } else {
      const { failure, detail } = way.found
      const report = { ...failedReport(way.taken.route.name, failure, detail), phase: 'dns' as const }
      settleReport(parts, delivery, lease, { taken: way.taken, scope: null }, report)
    }
  } catch (error) {
    parts.onError(error as Error)
    backDesk.giveBack([lease], steadyNowMs() + crashPauseMs, null)
  }
}

type Way = Extract<RouteChoice, { kind: 'hold' }> | { kind: 'send'; taken: TakenWay; found: Found }

async function findWay({ routing, destinations, shaping }: Parts, delivery: LeasedDelivery): Promise<Way> {
  const choice = await routing.choose(delivery, () => destinations.providerOf(delivery.domain))
  if (choice.kind === 'hold') return choice
  const { route, source } = choice
  const found = await destinations.find(delivery, choice)
  const held = found.ok ? shaping.heldUntil(found.destination.scope, delivery) : null
  return held === null ? { kind: 'send', taken: { route, source }, found } : { kind: 'hold', ...held }
}

function createJob(
  parts: Parts,
  delivery: LeasedDelivery,
  lease: HeldLease,
  taken: TakenWay,
  { destination: { scope }, policies }: Extract<Found, { ok: true }>,
): DeliveryJob {
  // Until it has run: what is told of it is about the opening.
  let isFirstOfSession = true
  return {
    delivery,
    lease,
    routeKey: taken.route.key,
    turn: delivery,
    run: (session, mayBegin) => {
      isFirstOfSession = session.sent === 0
      const run = runJob(parts, { session, mayBegin }, delivery, lease, taken.route)
      parts.running.set(session, run)
      return run.finally(() => parts.running.delete(session))
    },
    settle: (report) => {
      const policy = isFirstOfSession && report.host !== null && policies?.get(report.host)
      if (policy) parts.tlsReports.countSession(delivery.domain, report.host ?? '', policy, report)
      // Somebody else may have it by now, and what they do is theirs to tell. Or nobody: after a pause of this process a renewal
      // that was on its way keeps the lease in the database, and the mail would wait for its end.
      if (report.failure === 'lease_lost') parts.backDesk.giveBack([lease], dueAgain(lease), null)
      else settleReport(parts, delivery, lease, { taken, scope }, report)
    },
  }
}

/** A mail's turn on a session. */
interface Turn {
  session: Session
  mayBegin: () => Promise<boolean>
}

async function runJob(
  parts: Parts,
  { session, mayBegin }: Turn,
  delivery: LeasedDelivery,
  lease: HeldLease,
  route: ChosenRoute,
): Promise<TransactionReport | 'withdrawn' | null> {
  const { compositions, returnPaths, backDesk, onError } = parts
  const signing = signingOf(delivery, route.rewritesIds)
  try {
    const mail = await compositions.acquire(delivery, signing)
    const to = parseAddress(delivery.email)
    if (!to.ok) throw new ComposeError(to.message)
    const envelope = {
      from: await returnPaths.of(delivery, route),
      to: to.value,
      needsSmtpUtf8: mail.needsSmtpUtf8 || to.value.needsSmtpUtf8,
      envid: delivery.messageId.replaceAll('-', ''),
      orcpt: delivery.email,
      requiresTls: delivery.requireTls,
    }
    // Last, so that the mail goes at the moment that it was given.
    const isAllowed = await mayBegin()
    if (lease.isRecalled) {
      backDesk.giveBack([lease], dueAgain(lease), null)
      return 'withdrawn'
    }
    if (!isAllowed) return null
    return await session.send(envelope, mail.bytes, guardOf(parts, delivery, lease), { route: route.name })
  } catch (error) {
    if (error instanceof NoRoomError) {
      backDesk.giveBack([lease], steadyNowMs() + noRoomPauseMs, null)
      return 'withdrawn'
    }
    if (error instanceof ComposeError) return failedReport(route.name, 'compose', error.message)
    if (!(error instanceof SigningError)) throw error
    onError(error)
    return failedReport(route.name, 'sign', error.message)
  } finally {
    compositions.release(delivery, signing)
  }
}

/** What a mail needs to be sent. Once handed over it counts as such until its lease is dropped, which its settling does. */
function guardOf(
  { leases, dots, handOvers }: Parts,
  delivery: LeasedDelivery,
  lease: HeldLease,
): TransactionGuard {
  const isMarked = delivery.atMostOnce || isSuspect(delivery)
  const { enter, leave } = handOvers.begin()
  lease.onDropped = leave
  return {
    isStillMine: () => leases.isValid(lease),
    beforeEnd: async () => {
      await enter()
      if (isMarked) await dots.set(lease)
    },
  }
}

/** Resolves when every conversation has ended and handed in its result. */
async function cutConversations({ running }: Parts): Promise<void> {
  const runs = [...running.values()]
  for (const session of running.keys()) void session.close()
  await Promise.allSettled(runs)
  // The scheduler settles a job in the turn after its run.
  await new Promise((resolve) => setImmediate(resolve))
}
