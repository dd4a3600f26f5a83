/**
 * From the report of one transaction to what is settled: state, attempt, events, and when to try again.
 *
 * Pure: the disposition says what the report means, the retry policy says when, and this file writes both down.
 */
import {
  type Disposition,
  formatId,
  type IdSource,
  type Judge,
  type MailboxFault,
  mailboxFaultOf,
  mailboxFaultOfExpiry,
  type Reason,
  type RetryPolicy,
  reasonMeanings,
  retryWaitMs,
  stateAfter,
  statesBefore,
  storableText,
  type TransactionReport,
  withoutRepeat,
} from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import type { LeasedDelivery, Settlement, SuppressionHit } from '@valija/store'
import { eventData } from './event-data.ts'

export interface JudgeDependencies {
  nextId: IdSource
  nowMs: () => number
  judge: Judge
  retryPolicy: RetryPolicy
  /** A number in [0, 1). */
  random: () => number
}

/**
 * Judges an attempt that was made.
 *
 * @param report must not be of a lost lease: that is not an attempt
 * @param pauseOf tells for how long the site is left alone, in milliseconds, when the failure is its own fault; else null
 */
export function judgeAttempt(
  { nextId, nowMs, judge, retryPolicy, random }: JudgeDependencies,
  delivery: LeasedDelivery,
  report: TransactionReport,
  pauseOf: (disposition: Disposition) => number | null,
): Settlement {
  const judged = judge(report)
  const disposition = delivery.atMostOnce ? withoutRepeat(judged, report.isUncertain) : judged
  const number = delivery.attempts + 1
  const pauseMs = pauseOf(judged)
  const retrySteps = delivery.retrySteps + (pauseMs === null ? 1 : 0)
  const retryMs = waitAfter(disposition, pauseMs, retryPolicy, retrySteps, random())
  const shown = report.reply ? formatSmtpReply(report.reply) : report.detail
  const reply = shown === null ? null : storableText(shown)
  const at = nowMs()
  const isDelivered = disposition.event === 'deliver'
  return {
    ...identity(delivery),
    isFact: report.reply !== null && (isDelivered || disposition.event === 'bounce'),
    change: { to: stateAfter(disposition.event), from: statesBefore(disposition.event) },
    reason: disposition.reason,
    reply,
    enhancedStatus: report.reply?.enhanced ?? null,
    attempts: number,
    retrySteps,
    nextInMs: retryMs,
    deliveredAt: isDelivered ? new Date(at) : null,
    sizeBytes: report.sizeBytes,
    seq: delivery.seq + 2,
    mailboxFault: report.isSimulated ? null : faultAt(delivery, mailboxFaultOf(disposition, report.phase)),
    attempt: {
      id: nextId(),
      number,
      outcome: stateAfter(disposition.event),
      reason: disposition.reason,
      startedAt: report.startedAt,
      report: keptReport(report, reply, disposition),
    },
    events: attemptEvents({ nextId, at }, delivery, disposition, report, reply, number, retryMs),
  }
}

/**
 * The site's own fault uses up no step of the schedule: the mail that met it goes on as soon as the site's pause is over
 * (DESIGN 4.16). Null: no further attempt.
 */
function waitAfter(
  disposition: Disposition,
  pauseMs: number | null,
  policy: RetryPolicy,
  retrySteps: number,
  jitter: number,
): number | null {
  if (disposition.event !== 'defer') return null
  return pauseMs ?? retryWaitMs(policy, disposition, retrySteps, jitter)
}

/** `attempted`, then what came of it. */
function attemptEvents(
  { nextId, at }: { nextId: IdSource; at: number },
  delivery: LeasedDelivery,
  disposition: Disposition,
  report: TransactionReport,
  reply: string | null,
  number: number,
  retryMs: number | null,
): Settlement['events'] {
  const facts = {
    ...(disposition.reason !== null && { reason: disposition.reason }),
    ...(disposition.bounceType !== null && { bounce_type: disposition.bounceType }),
    ...(reply !== null && { reply }),
    ...(report.reply?.enhanced && { enhanced_status: report.reply.enhanced }),
    ...(report.host !== null && { host: report.host }),
    attempt: number,
  }
  const nextAt = retryMs === null ? null : Math.min(at + retryMs, delivery.expiresAt.getTime())
  return [
    {
      id: nextId(),
      type: 'message.attempted',
      createdAtMs: at,
      data: {
        ...dataOf(delivery, 1),
        ...facts,
        outcome: stateAfter(disposition.event),
        uncertain: report.isUncertain,
      },
    },
    {
      id: nextId(),
      type: eventTypeOf[disposition.event],
      createdAtMs: at,
      data: {
        ...dataOf(delivery, 2),
        ...facts,
        ...(disposition.event === 'fail' && report.isUncertain
          ? { uncertain: true, ...wordsForUncertainEnd(disposition, report) }
          : wordsFor(disposition.reason)),
        ...(nextAt !== null && { next_attempt_at: new Date(nextAt).toISOString() }),
        ...(disposition.event === 'deliver' && { latency_ms: latencyMs(delivery, at) }),
      },
    },
  ]
}

/** From when the mail was to be sent, its acceptance or send_at, to the receiving server's yes. */
function latencyMs({ createdAt, sendAt }: LeasedDelivery, at: number): number {
  return Math.max(0, Math.round(at - (sendAt ?? createdAt).getTime()))
}

/** What the reason means and what to do about it, for whoever reads the event. */
function wordsFor(reason: Reason | null): { explanation?: string; remedy?: string } {
  if (reason === null) return {}
  const { meaning, remedy } = reasonMeanings[reason]
  return { explanation: meaning, remedy }
}

/** Ended, and perhaps delivered. */
function wordsForUncertainEnd(
  { reason }: Disposition,
  { failure }: TransactionReport,
): { explanation: string; remedy: string } {
  const [what, why] =
    failure === 'restored'
      ? [
          'The database was set back to an earlier time: it may have been delivered after that.',
          'It is not sent again: the operator decided so, its time ran out, or at_most_once of this tenant demands it.',
        ]
      : [
          'The whole mail was handed over, and no reply came: it may have been delivered.',
          reason === 'internal'
            ? 'It ended the process that sent it again and again, so it is given up.'
            : 'It is not sent again, because this tenant is set to at_most_once.',
        ]
  return {
    explanation: `${what} ${why}`,
    remedy: 'Find out whether it arrived, by its Message-ID, before you send it again.',
  }
}

const eventTypeOf = {
  deliver: 'message.delivered',
  defer: 'message.deferred',
  bounce: 'message.bounced',
  fail: 'message.failed',
} as const

/** A recipient whose time is over: failed without another attempt. */
export function expire(
  { nextId, nowMs }: Pick<JudgeDependencies, 'nextId' | 'nowMs'>,
  delivery: LeasedDelivery,
): Settlement {
  const reason: Reason = 'expired'
  return {
    ...identity(delivery),
    isFact: false,
    change: { to: stateAfter('fail'), from: statesBefore('fail') },
    reason,
    reply: null,
    enhancedStatus: null,
    attempts: delivery.attempts,
    retrySteps: delivery.retrySteps,
    nextInMs: null,
    deliveredAt: null,
    sizeBytes: null,
    seq: delivery.seq + 1,
    mailboxFault: delivery.simulation ? null : faultAt(delivery, mailboxFaultOfExpiry(delivery.reason)),
    attempt: null,
    events: [
      {
        id: nextId(),
        type: 'message.failed',
        createdAtMs: nowMs(),
        data: { ...dataOf(delivery, 1), reason, ...wordsFor(reason) },
      },
    ],
  }
}

/** A recipient that was suppressed since its acceptance: it ends without another attempt. */
export function suppress(
  { nextId, nowMs }: Pick<JudgeDependencies, 'nextId' | 'nowMs'>,
  delivery: LeasedDelivery,
  { id, reason }: SuppressionHit,
): Settlement {
  const data = { ...dataOf(delivery, 1), reason, suppression_id: formatId('suppression', id) }
  return {
    ...discard(delivery),
    change: { to: stateAfter('suppress'), from: statesBefore('suppress') },
    reason,
    seq: delivery.seq + 1,
    events: [{ id: nextId(), type: 'message.suppressed', createdAtMs: nowMs(), data }],
  }
}

/** The simulator's complaint, a second after its delivery: an event, and no change of state. */
export function complain(
  { nextId, nowMs }: Pick<JudgeDependencies, 'nextId' | 'nowMs'>,
  delivery: LeasedDelivery,
): Settlement {
  const event = {
    id: nextId(),
    type: 'message.complained',
    createdAtMs: nowMs(),
    data: dataOf(delivery, 1),
  } as const
  return { ...discard(delivery), seq: delivery.seq + 1, events: [event] }
}

/** A delivery whose recipient is at its end already: only its row goes. */
export function discard(delivery: LeasedDelivery): Settlement {
  return {
    ...identity(delivery),
    isFact: false,
    change: null,
    reason: null,
    reply: null,
    enhancedStatus: null,
    attempts: delivery.attempts,
    retrySteps: delivery.retrySteps,
    nextInMs: null,
    deliveredAt: null,
    sizeBytes: null,
    seq: delivery.seq,
    mailboxFault: null,
    attempt: null,
    events: [],
  }
}

/**
 * The same, where it is known whose servers answer for the recipient's domain: what many domains' mailboxes are denied by is
 * one provider's fault.
 */
export function saidBy(settlement: Settlement, provider: string | null): Settlement {
  const { mailboxFault, events } = settlement
  if (provider === null) return settlement
  return {
    ...settlement,
    mailboxFault: mailboxFault && { ...mailboxFault, provider },
    events: events.map((event) => ({ ...event, data: { ...event.data, provider } })),
  }
}

/** Whoever answers for a mailbox is, until more is known, the recipient's domain. */
function faultAt({ domain }: LeasedDelivery, fault: MailboxFault | null): Settlement['mailboxFault'] {
  return fault && { fault, provider: domain }
}

function identity({ recipientId, messageId, tenantId, epoch, isSensitive }: LeasedDelivery) {
  return { recipientId, messageId, tenantId, epoch, isSensitive }
}

function dataOf(delivery: LeasedDelivery, step: number): object {
  const message = {
    id: delivery.messageId,
    stream: delivery.stream,
    fromDomain: delivery.fromDomain,
    tags: delivery.tags,
    metadata: delivery.metadata,
  }
  const recipient = { id: delivery.recipientId, email: delivery.email }
  return eventData(message, recipient, delivery.simulation, delivery.seq + step)
}

type KeptReport = ReturnType<typeof keptReport>

/**
 * What GET /messages/:id/attempts shows of it, but for what the attempt's columns hold; and, for `explain`, what a failure was taken
 * for: what it rests on is known only now, and the rules may be others when somebody asks.
 */
function keptReport(report: TransactionReport, reply: string | null, disposition: Disposition) {
  const { blame, action, evidence, taughtBy } = disposition
  const judgement = { failure: report.failure, blame, action, evidence, taught_by: taughtBy }
  return {
    ...(disposition.event !== 'deliver' && { judgement }),
    route: report.route,
    host: report.host,
    ip: report.ip,
    port: report.port,
    source_ip: report.sourceIp,
    tls: report.tls,
    phase: report.phase,
    reply,
    enhanced_status: report.reply?.enhanced ?? null,
    uncertain: report.isUncertain,
    duration_ms: Math.round(report.durationMs),
    timings_ms: report.timingsMs,
    transcript: report.transcript.map((entry) => ({ ...entry, line: storableText(entry.line) })),
  }
}

/**
 * The same end without the texts that came from the peer: what PostgreSQL surely takes. Everything else stays, so an attempt
 * and an event have all that the API promises of them.
 */
export function withoutTexts(settlement: Settlement): Settlement {
  const { attempt, events } = settlement
  return {
    ...settlement,
    reply: null,
    attempt: attempt && { ...attempt, report: withoutPeersWords(attempt.report as KeptReport) },
    events: events.map(({ data, ...event }) => {
      const { reply: _, ...rest } = data as { reply?: string }
      return { ...event, data: rest }
    }),
  }
}

function withoutPeersWords(report: KeptReport): KeptReport {
  return { ...report, reply: null, tls: report.tls && { ...report.tls, detail: null }, transcript: [] }
}
