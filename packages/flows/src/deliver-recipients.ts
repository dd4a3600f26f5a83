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
  type Hint,
  isPassingDatabaseError,
  type LeasedDelivery,
  leaseDeliveries,
  leaseMs,
  releaseLeases,
  type Wake,
} from '@valija/store'
import { ComposeError, type Compositions, createCompositions } from './compositions.ts'
import { failedReport } from './failed-report.ts'
import { createHeldLeases, type HeldLease, type HeldLeases } from './held-leases.ts'
import { complain, discard, expire, type JudgeDependencies, judgeAttempt } from './judge-attempt.ts'
import { createSettleDesk, type SettleDesk } from './settle-desk.ts'
import { simulateAttempt } from './simulate-attempt.ts'

export interface Deliverer {
  /** Works on one hint; resolves when its rows are leased and in hand. */
  takeHint(hint: Hint): Promise<void>
  /** Ends what is in DATA, gives the rest back, and settles all that has an end. No hint may come after it. */
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
  onCrash: (job: DeliveryJob, error: unknown) => void
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
/** While PostgreSQL is away it is asked again this often, for as long as a lease holds; then the sweep mends it anyway. */
const awayPauseMs = 500

interface Parts extends DelivererDependencies {
  leases: HeldLeases
  compositions: Compositions
  desk: SettleDesk
  judging: JudgeDependencies
  /** Conversations under way. */
  running: Map<Session, Promise<unknown>>
}

export function createDeliverer(dependencies: DelivererDependencies): Deliverer {
  const { database, clock, nextId, wake, mailLog, retryPolicy, onError } = dependencies
  const leases = createHeldLeases(database, onError)
  const parts: Parts = {
    ...dependencies,
    leases,
    compositions: createCompositions(database),
    desk: createSettleDesk({ database, wake, mailLog, leases, onError }),
    judging: { nextId, nowMs: clock.nowMs, retryPolicy, random: Math.random },
    running: new Map(),
  }
  const hurried = Promise.withResolvers<void>()
  const sites = dependencies.createSites({
    onHeldBack: (jobs, untilMs) => void giveBack(parts, jobs, untilMs - Date.now()),
    onCrash: (job, error) => {
      onError(error as Error)
      void giveBack(parts, [job], crashPauseMs)
    },
  })
  return {
    takeHint: async (hint) => {
      await leases.waitForRoom(dependencies.maxLeased)
      let askedAtMs = 0
      const deliveries = await patiently(() => {
        askedAtMs = performance.now()
        return leaseDeliveries(database.engine, hint.ids)
      })
      if (deliveries.length > 0) wake.send('dispatch')
      for (const delivery of deliveries) {
        const lease = leases.add(delivery.recipientId, delivery.epoch, askedAtMs)
        begin(parts, sites, delivery, lease)
      }
    },
    drain: async () => {
      const { returned, done } = sites.drain()
      await giveBack(parts, returned, 0)
      await Promise.race([done.then(() => sites.close()), hurried.promise])
      await parts.desk.drain()
      leases.stop()
    },
    hurry: () => void cutConversations(parts).then(hurried.resolve),
    get leased() {
      return leases.size
    },
  }
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
    else void giveBack(parts, [job], setAsideMs)
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

/** Resolves when every conversation has ended and handed in its result. */
async function cutConversations({ running }: Parts): Promise<void> {
  const runs = [...running.values()]
  for (const session of running.keys()) void session.close()
  await Promise.allSettled(runs)
  // The scheduler settles a job in the turn after its run.
  await new Promise((resolve) => setImmediate(resolve))
}

/** Asks again while PostgreSQL is away: else a moment's absence would cost every mail in hand the 30 s of its lease. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + leaseMs
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!isPassingDatabaseError(error) || performance.now() > endMs) throw error
      await new Promise<void>((resolve) => setTimeout(resolve, awayPauseMs))
    }
  }
}

/** Gives leases back untried; when the database stays away they run out by themselves. */
async function giveBack(
  { database, leases, wake, onError }: Parts,
  jobs: DeliveryJob[],
  dueInMs: number,
): Promise<void> {
  if (jobs.length === 0) return
  const held = jobs.map((job) => job.lease)
  try {
    await patiently(() => releaseLeases(database.engine, held, dueInMs))
    wake.send('dispatch')
  } catch (error) {
    if (!isPassingDatabaseError(error)) onError(error as Error)
  } finally {
    for (const lease of held) leases.drop(lease)
  }
}
