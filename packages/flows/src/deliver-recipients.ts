/**
 * The worker's way of a mail: hint → lease → site scheduler → compose → session → judge → settle.
 *
 * A hint is completed as soon as its rows are leased and handed to the site scheduler: from there on the lease owns the work.
 * Bounded by the number of leases held, so a slow world makes hints wait and not memory grow.
 */
import { type IdSource, isEnd, type MailLog, type RetryPolicy, type TransactionReport } from '@valija/core'
import type { Session, SiteJob, SiteScheduler } from '@valija/courier'
import { parseAddress } from '@valija/mail'
import {
  type Database,
  type DatabaseClock,
  deleteOrphans,
  type Hint,
  type LeasedDelivery,
  leaseDeliveries,
  readmit,
  type Wake,
} from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import { ComposeError, type Compositions, createCompositions } from './compositions.ts'
import { failedReport } from './failed-report.ts'
import { createGiveBackDesk, type GiveBackDesk } from './give-back.ts'
import { createHeldLeases, type HeldLease, type HeldLeases } from './held-leases.ts'
import { complain, discard, expire, type JudgeDependencies, judgeAttempt } from './judge-attempt.ts'
import { firstOf, pauseUnless } from './pause.ts'
import { createSettleDesk, type SettleDesk } from './settle-desk.ts'
import { simulateAttempt } from './simulate-attempt.ts'

export interface Deliverer {
  /** Works on one hint; resolves when its rows are leased and in hand. */
  takeHint(hint: Hint): Promise<void>
  /** Takes no more: what was not begun is given back, and so are the rows of hints that wait for room or still come. */
  stop(): void
  /** Stops, waits for what is in conversation, and settles all that has an end. No hint may come after it. */
  drain(): Promise<void>
  /** Cuts the conversations that a drain waits for: their mails are deferred, past the final dot as uncertain. */
  hurry(): void
  /** Deliveries leased by this worker. */
  readonly leased: number
}

/** The route of a delivery: where its sessions go, and what its return path is. */
export interface DeliveryRoutes {
  /** Whether this worker can send by the route. */
  has(route: string): boolean
  /** The envelope sender (DESIGN 4.9, 4.10). */
  returnPath(delivery: LeasedDelivery): string
}

export interface DelivererDependencies {
  database: Database
  clock: DatabaseClock
  nextId: IdSource
  wake: Wake
  mailLog: MailLog
  routes: DeliveryRoutes
  retryPolicy: RetryPolicy
  /** Deliveries leased at the same time at most. */
  maxLeased: number
  /** Makes the scheduler, given what to do with jobs that it hands back. */
  createSites: (callbacks: SiteCallbacks) => SiteScheduler<DeliveryJob>
  onError: (error: Error) => void
}

export interface SiteCallbacks {
  onHeldBack: (jobs: DeliveryJob[], untilMs: number) => void
  onCrash: (job: DeliveryJob | null, error: unknown) => void
}

export interface DeliveryJob extends SiteJob {
  readonly delivery: LeasedDelivery
  readonly lease: HeldLease
}

/** A delivery that no route of this worker can take, and one whose turn crashed, waits this long. */
const setAsideMs = 60_000
const crashPauseMs = 5_000
/** The simulator complains this long after it took the mail. */
const complaintAfterMs = 1_000
/** A mail whose time is over while it waits for its site is noticed this soon. */
const expiryEveryMs = 1_000
/**
 * The next hint is taken this much later when rows of one were more than their site, which is down, may keep. Four at a time
 * with 32 rows each make 250 rows a second that come and go, however many wait; others' mail is late by this at most.
 */
const excessPauseMs = 500

interface Parts extends DelivererDependencies {
  leases: HeldLeases
  compositions: Compositions
  desk: SettleDesk
  backDesk: GiveBackDesk
  judging: JudgeDependencies
  /** Conversations under way. */
  running: Map<Session, Promise<unknown>>
}

export function createDeliverer(dependencies: DelivererDependencies): Deliverer {
  const { database, clock, nextId, wake, mailLog, retryPolicy, onError } = dependencies
  const [stopping, hurried] = [new AbortController(), new AbortController()]
  const leases = createHeldLeases(database, onError)
  const parts: Parts = {
    ...dependencies,
    leases,
    compositions: createCompositions(database),
    desk: createSettleDesk({ database, wake, mailLog, leases, onError }),
    backDesk: createGiveBackDesk({ database, wake, leases, hurried: hurried.signal, onError }),
    judging: { nextId, nowMs: clock.nowMs, retryPolicy, random: Math.random },
    running: new Map(),
  }
  const { sites, countHeldBack } = openSites(parts)
  const expiryTimer = watchExpiry(parts, sites)

  const take = async (hint: Hint): Promise<void> => {
    await firstOf(stopping.signal, leases.waitForRoom(dependencies.maxLeased))
    if (stopping.signal.aborted) return returnHint(parts, hint)
    const heldBackBefore = countHeldBack()
    await leaseHint(parts, sites, hint, stopping.signal)
    if (countHeldBack() > heldBackBefore) await pauseUnless(stopping.signal, excessPauseMs)
  }
  const taking = new Set<Promise<void>>()
  const stop = () => {
    stopping.abort()
    clearInterval(expiryTimer)
    giveBack(parts, sites.drain().returned, 0)
  }
  const cut = Promise.withResolvers<void>()
  return {
    takeHint: (hint) => {
      const work = take(hint).finally(() => taking.delete(work))
      taking.add(work)
      return work
    },
    stop,
    drain: async () => {
      stop()
      await Promise.allSettled(taking)
      await Promise.race([sites.close(), cut.promise])
      await Promise.all([parts.desk.drain(), parts.backDesk.drain()])
      leases.stop()
    },
    hurry: () => {
      hurried.abort()
      parts.desk.hurry()
      void cutConversations(parts).then(cut.resolve)
    },
    get leased() {
      return leases.size
    },
  }
}

function openSites(parts: Parts): { sites: SiteScheduler<DeliveryJob>; countHeldBack: () => number } {
  let heldBack = 0
  const sites = parts.createSites({
    onHeldBack: (jobs, untilMs) => {
      heldBack += jobs.length
      giveBack(parts, jobs, untilMs)
    },
    onCrash: (job, error) => {
      parts.onError(error as Error)
      if (job) giveBack(parts, [job], Date.now() + crashPauseMs)
    },
  })
  return { sites, countHeldBack: () => heldBack }
}

/** Gives back mails whose time is over: PostgreSQL decides. Leased again, they are ended if it says so too. */
function watchExpiry(parts: Parts, sites: SiteScheduler<DeliveryJob>): NodeJS.Timeout {
  const isOver = ({ delivery }: DeliveryJob) => delivery.expiresAt.getTime() <= parts.clock.nowMs()
  return setInterval(() => giveBack(parts, sites.withdraw(isOver), 0), expiryEveryMs)
}

async function leaseHint(
  parts: Parts,
  sites: SiteScheduler<DeliveryJob>,
  hint: Hint,
  stop: AbortSignal,
): Promise<void> {
  let askedAtMs = 0
  const { deliveries, orphans } = await askPatiently(() => {
    askedAtMs = performance.now()
    return leaseDeliveries(parts.database.engine, hint.ids)
  }, stop)
  if (deliveries.length > 0) parts.wake.send('dispatch')
  for (const delivery of deliveries) {
    const lease = parts.leases.add(delivery.recipientId, delivery.epoch, askedAtMs)
    begin(parts, sites, delivery, lease)
  }
  if (orphans.length === 0) return
  parts.onError(new Error(`${orphans.length} deliveries without their recipient or message are dropped`))
  await askPatiently(() => deleteOrphans(parts.database.engine, orphans), stop)
}

/** The rows of a hint that this worker takes no more: another one may have them at once. When it cannot be told, the sweep finds them. */
async function returnHint({ database, wake }: Parts, hint: Hint): Promise<void> {
  await readmit(database.engine, hint.ids)
  wake.send('dispatch')
}

/** Decides what a leased delivery needs: most go to their site; some end without a conversation. */
function begin(
  parts: Parts,
  sites: SiteScheduler<DeliveryJob>,
  delivery: LeasedDelivery,
  lease: HeldLease,
): void {
  const { desk, judging, clock } = parts
  if (isEnd(delivery.status)) {
    const hasComplaint = delivery.simulation === 'complained' && delivery.status === 'delivered'
    desk.settle(delivery, lease, hasComplaint ? complain(judging, delivery) : discard(delivery))
  } else if (delivery.isExpired) {
    desk.settle(delivery, lease, expire(judging, delivery))
  } else if (delivery.simulation !== null) {
    const startedAt = new Date(clock.nowMs())
    const report = simulateAttempt(delivery.simulation, delivery.attempts, startedAt)
    const settlement = judgeAttempt(judging, delivery, report)
    const willComplain = delivery.simulation === 'complained' && settlement.nextInMs === null
    desk.settle(
      delivery,
      lease,
      willComplain ? { ...settlement, nextInMs: complaintAfterMs } : settlement,
      report,
    )
  } else {
    const job = createJob(parts, delivery, lease)
    if (parts.routes.has(delivery.route)) sites.submit(delivery.route, job)
    else giveBack(parts, [job], Date.now() + setAsideMs)
  }
}

function createJob(parts: Parts, delivery: LeasedDelivery, lease: HeldLease): DeliveryJob {
  return {
    delivery,
    lease,
    turn: `${delivery.tenantId} ${delivery.stream}`,
    run: (session) => {
      const run = runJob(parts, session, delivery, lease)
      parts.running.set(session, run)
      return run.finally(() => parts.running.delete(session))
    },
    settle: (report) => {
      // Somebody else has it by now; what they do is theirs to tell.
      if (report.failure === 'lease_lost') parts.leases.drop(lease)
      else parts.desk.settle(delivery, lease, judgeAttempt(parts.judging, delivery, report), report)
    },
  }
}

async function runJob(
  { compositions, routes, leases }: Parts,
  session: Session,
  delivery: LeasedDelivery,
  lease: HeldLease,
): Promise<TransactionReport> {
  try {
    const mail = await compositions.acquire(delivery.messageId)
    const to = parseAddress(delivery.email)
    if (!to.ok) throw new ComposeError(to.message)
    const envelope = {
      from: routes.returnPath(delivery),
      to: to.value,
      needsSmtpUtf8: mail.needsSmtpUtf8 || to.value.needsSmtpUtf8,
      envid: delivery.messageId.replaceAll('-', ''),
    }
    const guard = { isStillMine: () => leases.isValid(lease) }
    return await session.send(envelope, mail.bytes, guard, { route: delivery.route })
  } catch (error) {
    if (!(error instanceof ComposeError)) throw error
    return failedReport(delivery.route, 'compose', error.message)
  } finally {
    compositions.release(delivery.messageId)
  }
}

function giveBack({ backDesk }: Parts, jobs: readonly DeliveryJob[], untilMs: number): void {
  backDesk.giveBack(
    jobs.map(({ lease }) => lease),
    untilMs,
  )
}

/** Resolves when every conversation has ended and handed in its result. */
async function cutConversations({ running }: Parts): Promise<void> {
  const runs = [...running.values()]
  for (const session of running.keys()) void session.close()
  await Promise.allSettled(runs)
  // The scheduler settles a job in the turn after its run.
  await new Promise((resolve) => setImmediate(resolve))
}
