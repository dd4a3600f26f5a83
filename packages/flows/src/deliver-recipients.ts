/**
 * The worker's way of a mail: hint → lease → route → destination → site scheduler → compose → session → judge → settle.
 *
 * A hint is completed as soon as its rows are leased and handed to the site scheduler: from there on the lease owns the work.
 * Bounded by the number of leases held, so a slow world makes hints wait and not memory grow.
 */
import { steadyNowMs, type Uuid, uuidTimeMs } from '@valija/core'
import type { SiteScheduler } from '@valija/courier'
import {
  deleteOrphans,
  type Hint,
  type LeasedDelivery,
  leaseDeliveries,
  readmit,
  renewLeases,
} from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import { begin, placeAnew } from './begin-delivery.ts'
import { createCompositions } from './compositions.ts'
import {
  crashPauseMs,
  type DelivererDependencies,
  type DelivererParts,
  type DeliveryJob,
} from './deliverer-parts.ts'
import { createDotMarks } from './dot-marks.ts'
import { lostReport } from './failed-report.ts'
import { createGiveBackDesk, type GiveBackDesk } from './give-back.ts'
import { createHandOvers } from './hand-overs.ts'
import { excess, HeldBack } from './held-back.ts'
import { createHeldLeases, type HeldLease } from './held-leases.ts'
import { createIsolation, type Isolation } from './isolate-suspects.ts'
import { judgeAttempt } from './judge-attempt.ts'
import { firstOf, pauseUnless } from './pause.ts'
import { hearRecalls } from './recall-mail.ts'
import { cutConversations } from './run-delivery.ts'
import { createSettleDesk, roomPayload } from './settle-desk.ts'
import { giveBack, watchExpiry, withdrawMail } from './withdraw-deliveries.ts'

/** Deliveries whose way may be being looked up, for each that is on its way. */
const lookedUpPerLease = 3

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

interface InHand {
  delivery: LeasedDelivery
  lease: HeldLease
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
): { parts: DelivererParts; heldBack: HeldBack } {
  const { database, clock, nextId, wake, mailLog, judge, retryPolicy, onError } = dependencies
  const leases = createHeldLeases(database, onError)
  const backDesk = createGiveBackDesk({ database, wake, leases, hurried, onError })
  const { sites, heldBack } = openSites(dependencies, backDesk)
  const desk = createSettleDesk({ database, wake, mailLog, leases, onError })
  const judging = { nextId, nowMs: clock.tellMs, judge, retryPolicy, random: Math.random }
  const parts: DelivererParts = {
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
function hasRoom({ desk, leases, placing, isolation, maxLeased }: DelivererParts): boolean {
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
  }: Pick<DelivererParts, 'leases' | 'desk' | 'backDesk' | 'judging' | 'stopping'>,
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
  { database, leases, stopping }: DelivererParts,
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
      giveBack(backDesk, jobs, untilMs, scope && `site:${scope.key}`)
    },
    onCrash: (job, error) => {
      onError(error as Error)
      if (job) giveBack(backDesk, [job], steadyNowMs() + crashPauseMs, null)
    },
  })
  return { sites, heldBack }
}

async function leaseHint(parts: DelivererParts, hint: Hint, isToBeSent = true): Promise<InHand[]> {
  let askedAtMs = 0
  const { deliveries, orphans } = await askPatiently(() => {
    askedAtMs = performance.now()
    return leaseDeliveries(parts.database.engine, hint.ids, isToBeSent)
  }, parts.stopping)
  if (deliveries.length > 0) parts.wake.send('dispatch', roomPayload)
  const inHand = deliveries.map((delivery) => {
    parts.clock.saw(uuidTimeMs(delivery.recipientId))
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
async function endExpired(parts: DelivererParts, ids: Uuid[]): Promise<number> {
  const { leases, stopping } = parts
  if (stopping.aborted) {
    await returnHint(parts, { ids })
    return 0
  }
  const ending = (await leaseHint(parts, { ids }, false)).filter(({ delivery }) => delivery.isExpired)
  await firstOf(
    stopping,
    leases.waitUntil(() => !ending.some(({ lease }) => leases.holds(lease))),
  )
  return ending.filter(({ lease }) => !leases.holds(lease)).length
}

/** The rows of a hint that this worker takes no more: another one may have them at once. When it cannot be told, the sweep finds them. */
async function returnHint({ database, wake }: DelivererParts, hint: Hint): Promise<void> {
  await readmit(database.engine, hint.ids)
  wake.send('dispatch')
}
