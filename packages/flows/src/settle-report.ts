/**
 * What a conversation, or an opening that failed, came to: told to the route and to the site, and written down for the recipient.
 *
 * A relay that is down is tried every few seconds, so that its outage ends as soon as it is back. What such a try finds is told once to
 * each mail. After that the mail is given back as it is, like those behind it: else an outage of a night would be thousands of
 * attempts, events and webhooks of one mail. The same holds while this worker can open no sockets, which nobody else is told of at all.
 */
import { type Disposition, steadyNowMs, type TransactionReport } from '@valija/core'
import { noSocketPauseMs, type ShapingScope } from '@valija/courier'
import type { LeasedDelivery } from '@valija/store'
import type { DomainPace } from './domain-pace.ts'
import type { GiveBackDesk } from './give-back.ts'
import type { HeldLease } from './held-leases.ts'
import { type JudgeDependencies, judgeAttempt, saidBy } from './judge-attempt.ts'
import type { RouteChooser, TakenWay } from './route-choice.ts'
import type { SettleDesk } from './settle-desk.ts'
import type { SiteGate } from './site-observer.ts'

export interface SettleReportParts {
  judging: JudgeDependencies
  desk: Pick<SettleDesk, 'settle'>
  backDesk: Pick<GiveBackDesk, 'giveBack'>
  routing: Pick<RouteChooser, 'observe'>
  shaping: Pick<SiteGate, 'observe'>
  pace: Pick<DomainPace, 'note'>
}

/** @param way.scope null where the way to a site could not be found */
export function settleReport(
  { judging, desk, backDesk, routing, shaping, pace }: SettleReportParts,
  delivery: LeasedDelivery,
  lease: HeldLease,
  { taken, scope }: { taken: TakenWay; scope: ShapingScope | null },
  report: TransactionReport,
): void {
  // Who says "not now" gets on with nothing, however quickly it says so.
  if (report.reply !== null && !isTransient(report.reply)) pace.note(delivery.domain)
  let pauseMs: number | null = null
  const observe = (disposition: Disposition) => {
    // What this mail alone asks of TLS, nobody else's mail has to wait for.
    if (delivery.requireTls && report.failure === 'tls') return null
    if (report.failure === 'no_socket') {
      pauseMs = noSocketPauseMs
      return pauseMs
    }
    routing.observe(delivery, taken, report, disposition)
    pauseMs = scope && shaping.observe(scope, { report, disposition, delivery })
    return pauseMs
  }
  const settlement = judgeAttempt(judging, delivery, report, observe)
  if (pauseMs !== null && isToldAlready(delivery, scope, report, settlement.reason)) {
    const hold = scope === null || report.failure === 'no_socket' ? null : `site:${scope.key}`
    backDesk.giveBack([lease], steadyNowMs() + pauseMs, hold)
    return
  }
  desk.settle(delivery, lease, saidBy(settlement, scope?.provider ?? null), report)
}

const isTransient = ({ code }: { code: number }) => code >= 400 && code < 500

/**
 * Whether the mail was deferred already because nobody answers at its relay, or there are no sockets here, be it for the look-up of its
 * way. (Exchangers' pauses grow to minutes: each try of theirs is written down. So is a suspect's, for it clears it.)
 */
function isToldAlready(
  { status, reason, crashes }: LeasedDelivery,
  scope: ShapingScope | null,
  { reply, failure, isUncertain }: TransactionReport,
  newReason: string | null,
): boolean {
  const isUnanswered = reply === null && !isUncertain
  const isRepeated = scope?.kind === 'relay' || failure === 'no_socket'
  return isRepeated && isUnanswered && status === 'deferred' && reason === newReason && crashes === 0
}
