/**
 * Settling in batches: results that come while one commit runs share the next. A result is never forgotten: while
 * PostgreSQL is away, reads only, or fails in a way that nobody foresaw, it is kept and written first when that is over, and
 * its lease keeps anybody else from sending the mail again for as long as that can be.
 *
 * A batch that takes too long (thousands of webhooks to tell, a lock that somebody holds) is done in halves, and those in halves, beside the batches
 * after it: what a single result needs holds up no other.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { MailLog, TransactionReport } from '@valija/core'
import {
  type Database,
  isDataError,
  isStatementTimeout,
  type LeasedDelivery,
  type Settlement,
  settleAttempts,
  type Wake,
} from '@valija/store'
import { createBatcher } from './batcher.ts'
import type { HeldLease, HeldLeases } from './held-leases.ts'
import { withoutTexts } from './judge-attempt.ts'
import { createPiecemeal } from './piecemeal.ts'

export interface SettleDesk {
  /**
   * Hands in one result. Never throws.
   *
   * @param report what came of a conversation, for the log
   * @param onSettled called when it is committed, unless somebody else had the mail by then
   */
  settle(
    delivery: LeasedDelivery,
    lease: HeldLease,
    settlement: Settlement,
    report?: TransactionReport,
    onSettled?: () => void,
  ): void
  /** Resolves when all that was handed in is committed. */
  drain(): Promise<void>
  /** From now on each commit is tried once: what PostgreSQL does not take is lost, and its mail is sent again. */
  hurry(): void
  /** PostgreSQL takes no results now. It may still lend rows (a full disk has places in old pages), and what came of them could only be kept. */
  readonly isHeldUp: boolean
}

export interface SettleDeskDependencies {
  database: Database
  wake: Wake
  mailLog: MailLog
  leases: HeldLeases
  onError: (error: Error) => void
}

/** With this the dispatcher is told that workers have taken rows or are done with some, which is news only when it has more for them. */
export const roomPayload = 'settled'
/** With this, that rows wait again, for a later time: news when nothing else keeps it going. */
export const laterPayload = 'later'

const batchLimits = { maxItems: 500, maxWeight: 500 }
const retryPauseMs = 500

export function createSettleDesk(dependencies: SettleDeskDependencies): SettleDesk {
  const { mailLog, leases, onError } = dependencies
  const book = openBook(dependencies)
  const batcher = createBatcher(book.commit, { ...batchLimits, weigh: () => 1, isItemsFault: isDataError })
  const underWay = new Set<Promise<void>>()

  const settleOne = async (settlement: Settlement): Promise<boolean> => {
    try {
      return await batcher.add(settlement)
    } catch (error) {
      if (!isDataError(error)) throw error
      // PostgreSQL refuses something in it; without its texts it is known to be storable, and an end must be recorded.
      return batcher.add(withoutTexts(settlement))
    }
  }
  return {
    settle: (delivery, lease, settlement, report, onSettled) => {
      const work = settleOne(settlement)
        .then((isOurs) => {
          if (!isOurs) return
          logSettled(mailLog, delivery, settlement, report)
          onSettled?.()
        })
        .catch(onError)
        .finally(() => {
          leases.drop(lease)
          underWay.delete(work)
        })
      underWay.add(work)
    },
    drain: async () => {
      await Promise.all(underWay)
    },
    hurry: () => book.hurry(),
    get isHeldUp() {
      return book.isHeldUp
    },
  }
}

/** Commits results until PostgreSQL has them; for each, whether it still spoke for its recipient. */
function openBook({ database, wake, onError }: SettleDeskDependencies) {
  let isHurried = false
  let isHeldUp = false
  const commitOnce = async (settlements: Settlement[]) => {
    const { settled, hasWebhooks } = await settleAttempts(database.engine, settlements)
    isHeldUp = false
    if (hasWebhooks) wake.send('webhooks')
    const hasMore = settlements.some((settlement) => settlement.nextInMs !== null)
    wake.send('dispatch', hasMore ? laterPayload : roomPayload)
    return settlements.map((settlement) => settled.has(settlement.recipientId))
  }
  /** Anything but refused data says nothing of these results: forgotten, they would be mails sent twice. */
  const isToBeKept = (error: unknown) => !isDataError(error) && !isHurried
  const pieces = createPiecemeal(commitOnce, {
    judge: (error, count) => {
      onError(error)
      if (isStatementTimeout(error) && isToBeKept(error)) return count > 1 ? 'halve' : 'again'
      if (isDataError(error) && count > 1) return 'halve'
      isHeldUp = isToBeKept(error)
      return isHeldUp ? 'again' : 'give_up'
    },
    pauseMs: retryPauseMs,
  })
  const commit = async (settlements: Settlement[]): Promise<(boolean | Promise<boolean>)[]> => {
    for (;;) {
      try {
        return await commitOnce(settlements)
      } catch (error) {
        onError(error as Error)
        isHeldUp = isToBeKept(error)
        if (!isHeldUp) throw error
        if (isStatementTimeout(error)) return pieces.add(settlements)
        await delay(retryPauseMs)
      }
    }
  }
  return {
    commit,
    hurry: () => {
      isHurried = true
    },
    get isHeldUp() {
      return isHeldUp
    },
  }
}

/** The line of what is committed. */
export function logSettled(
  mailLog: Pick<MailLog, 'attempted' | 'ended'>,
  delivery: LeasedDelivery,
  settlement: Settlement,
  report: TransactionReport | undefined,
): void {
  const { messageId, recipientId, tenantId, email } = delivery
  const mail = { messageId, recipientId, tenantId, email }
  const { attempt } = settlement
  if (attempt && report) {
    mailLog.attempted({
      ...mail,
      number: attempt.number,
      route: report.route,
      host: report.host,
      outcome: attempt.outcome,
      reason: attempt.reason,
      reply: settlement.reply,
      nextInMs: settlement.nextInMs,
      durationMs: Math.round(report.durationMs),
    })
  } else if (settlement.change) {
    mailLog.ended({ ...mail, outcome: settlement.change.to, reason: settlement.reason ?? '' })
  }
}
