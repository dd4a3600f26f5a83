/**
 * What a leased delivery needs: most go into the line of their site, once their way is looked up; some end without a conversation.
 */
import { isEnd, steadyNowMs } from '@valija/core'
import type { LeasedDelivery } from '@valija/store'
import { crashPauseMs, type DelivererParts } from './deliverer-parts.ts'
import { failedReport, lostReport, restoredReport } from './failed-report.ts'
import type { Found } from './find-destination.ts'
import type { HeldLease } from './held-leases.ts'
import { isSuspect } from './isolate-suspects.ts'
import { complain, discard, expire, judgeAttempt, suppress } from './judge-attempt.ts'
import { unlessStopped } from './pause.ts'
import { recalledForMs } from './recall-mail.ts'
import type { RouteChoice, TakenWay } from './route-choice.ts'
import { createJob } from './run-delivery.ts'
import { settleReport } from './settle-report.ts'
import { simulateAttempt } from './simulate-attempt.ts'
import { dueAgain } from './withdraw-deliveries.ts'

/** The simulator complains this long after it took the mail. */
const complaintAfterMs = 1_000
/** What is held is not looked at sooner than this again, by whichever clock its time is nearly over. */
const restoredAgainMs = 250

export function begin(parts: DelivererParts, delivery: LeasedDelivery, lease: HeldLease): void {
  const { desk, judging, clock } = parts
  if (isEnd(delivery.status)) {
    const hasComplaint = delivery.simulation === 'complained' && delivery.status === 'delivered'
    desk.settle(delivery, lease, hasComplaint ? complain(judging, delivery) : discard(delivery))
  } else if (delivery.isRestored) {
    keepRestored(parts, delivery, lease)
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

/** Held after a restore: only the operator lets it go. Until its time is over it waits, also where that is later than it was; then it ends as uncertain. */
function keepRestored(parts: DelivererParts, delivery: LeasedDelivery, lease: HeldLease): void {
  const { backDesk, desk, judging, clock } = parts
  if (!delivery.isExpired) {
    const leftMs = Math.max(restoredAgainMs, delivery.expiresAt.getTime() - clock.nowMs())
    backDesk.giveBack([lease], steadyNowMs() + leftMs, null)
    return
  }
  const report = restoredReport(delivery.route)
  const settlement = judgeAttempt(judging, delivery, report, () => null)
  desk.settle(delivery, lease, settlement, report)
}

function placeSoon(parts: DelivererParts, delivery: LeasedDelivery, lease: HeldLease): void {
  const placed = place(parts, delivery, lease).finally(() => parts.placing.delete(placed))
  parts.placing.add(placed)
}

/** What waits in line for a route that others are to be taken instead of is asked about again; it keeps its lease. */
export function placeAnew(parts: DelivererParts, routeKey: string): void {
  if (parts.stopping.aborted) return
  const withdrawn = parts.sites.withdraw((job) => job.routeKey === routeKey)
  for (const { delivery, lease } of withdrawn) placeSoon(parts, delivery, lease)
}

/** Looks the delivery's way up and puts it into the line of its site. No connection is held meanwhile, only the lease. */
async function place(parts: DelivererParts, delivery: LeasedDelivery, lease: HeldLease): Promise<void> {
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

async function findWay(
  { routing, destinations, shaping }: DelivererParts,
  delivery: LeasedDelivery,
): Promise<Way> {
  const choice = await routing.choose(delivery, () => destinations.providerOf(delivery.domain))
  if (choice.kind === 'hold') return choice
  const { route, source } = choice
  const found = await destinations.find(delivery, choice)
  const held = found.ok ? shaping.heldUntil(found.destination.scope, delivery) : null
  return held === null ? { kind: 'send', taken: { route, source }, found } : { kind: 'hold', ...held }
}
