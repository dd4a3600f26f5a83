/** A delivery's turn on a session: compose, sign, ask whether it may begin, send; and what is told of it. */
import { steadyNowMs, type TransactionReport } from '@valija/core'
import type { Session, TransactionGuard } from '@valija/courier'
import { hasUtf8LocalPart } from '@valija/mail'
import type { LeasedDelivery } from '@valija/store'
import { ComposeError, NoRoomError } from './compositions.ts'
import type { DelivererParts, DeliveryJob } from './deliverer-parts.ts'
import { failedReport } from './failed-report.ts'
import type { Found } from './find-destination.ts'
import type { HeldLease } from './held-leases.ts'
import { isSuspect } from './isolate-suspects.ts'
import type { ChosenRoute, TakenWay } from './route-choice.ts'
import { settleReport } from './settle-report.ts'
import { SigningError, signingOf } from './sign-mail.ts'
import { dueAgain } from './withdraw-deliveries.ts'

/** A large mail that found no room in this worker waits for so long; others of its tenant are under way meanwhile. */
const noRoomPauseMs = 5_000

/** The delivery's job in the line of its site. */
export function createJob(
  parts: DelivererParts,
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
  parts: DelivererParts,
  { session, mayBegin }: Turn,
  delivery: LeasedDelivery,
  lease: HeldLease,
  route: ChosenRoute,
): Promise<TransactionReport | 'withdrawn' | null> {
  const { compositions, returnPaths, backDesk, onError } = parts
  const signing = signingOf(delivery, route.rewritesIds)
  try {
    const mail = await compositions.acquire(delivery, signing)
    const envelope = {
      from: await returnPaths.of(delivery, route),
      // Read when it was accepted, and stored in canonical form.
      to: delivery.email,
      needsSmtpUtf8: mail.needsSmtpUtf8 || hasUtf8LocalPart(delivery.email),
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
  { leases, dots, handOvers }: DelivererParts,
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
export async function cutConversations({ running }: DelivererParts): Promise<void> {
  const runs = [...running.values()]
  for (const session of running.keys()) void session.close()
  await Promise.allSettled(runs)
  // The scheduler settles a job in the turn after its run.
  await new Promise((resolve) => setImmediate(resolve))
}
