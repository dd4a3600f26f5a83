/**
 * From the report of one transaction to what is settled: state, attempt, events, and when to try again.
 *
 * Pure: the disposition says what the report means, the retry policy says when, and this file writes both down.
 */
import {
  type Disposition,
  type IdSource,
  judge,
  type Reason,
  type RetryPolicy,
  retryWaitMs,
  stateAfter,
  statesBefore,
  storableText,
  type TransactionReport,
} from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import type { LeasedDelivery, Settlement } from '@valija/store'
import { eventData } from './event-data.ts'

/** The longest pause of a site that takes no connection, in milliseconds (DESIGN 4.16). */
const sitePauseMs = 5_000

export interface JudgeDependencies {
  nextId: IdSource
  nowMs: () => number
  retryPolicy: RetryPolicy
  /** A number in [0, 1). */
  random: () => number
}

/**
 * Judges an attempt that was made.
 *
 * @param report must not be of a lost lease: that is not an attempt
 */
export function judgeAttempt(
  { nextId, nowMs, retryPolicy, random }: JudgeDependencies,
  delivery: LeasedDelivery,
  report: TransactionReport,
): Settlement {
  const disposition = judge(report)
  const number = delivery.attempts + 1
  const isHostsFault = isHostAbsent(disposition) && !report.isSimulated
  const retrySteps = delivery.retrySteps + (isHostsFault ? 0 : 1)
  const retryMs = waitAfter(disposition, isHostsFault, retryPolicy, retrySteps, random())
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
    attempt: {
      id: nextId(),
      number,
      outcome: stateAfter(disposition.event),
      reason: disposition.reason,
      startedAt: report.startedAt,
      report: shownReport(report, reply),
    },
    events: attemptEvents({ nextId, at }, delivery, disposition, report, reply, number, retryMs),
  }
}

/**
 * Whether the host took no connection, or refused us before MAIL: it may be back any moment. Broken TLS is the host's fault too,
 * but it took the connection, and stays broken until somebody mends it: that is for the schedule.
 */
function isHostAbsent({ event, blame, reason }: Disposition): boolean {
  return event === 'defer' && blame === 'host' && reason !== 'tls'
}

/**
 * The host's own fault uses up no step of the schedule: the mail that met it goes on as soon as the site's pause is over
 * (DESIGN 4.16). Null: no further attempt.
 */
function waitAfter(
  disposition: Disposition,
  isHostsFault: boolean,
  policy: RetryPolicy,
  retrySteps: number,
  jitter: number,
): number | null {
  if (disposition.event !== 'defer') return null
  return isHostsFault ? sitePauseMs : retryWaitMs(policy, disposition.reason ?? 'other', retrySteps, jitter)
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
        ...(nextAt !== null && { next_attempt_at: new Date(nextAt).toISOString() }),
      },
    },
  ]
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
    attempt: null,
    events: [
      {
        id: nextId(),
        type: 'message.failed',
        createdAtMs: nowMs(),
        data: { ...dataOf(delivery, 1), reason },
      },
    ],
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
    attempt: null,
    events: [],
  }
}

function identity({ recipientId, messageId, tenantId, epoch }: LeasedDelivery) {
  return { recipientId, messageId, tenantId, epoch }
}

function dataOf(delivery: LeasedDelivery, step: number): object {
  const message = {
    id: delivery.messageId,
    fromDomain: delivery.fromDomain,
    tags: delivery.tags,
    metadata: delivery.metadata,
  }
  const recipient = { id: delivery.recipientId, email: delivery.email }
  return eventData(message, recipient, delivery.simulation, delivery.seq + step)
}

type ShownReport = ReturnType<typeof shownReport>

/** What GET /messages/:id/attempts shows of it, but for what the attempt's columns hold. */
function shownReport(report: TransactionReport, reply: string | null) {
  return {
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
    attempt: attempt && { ...attempt, report: withoutPeersWords(attempt.report as ShownReport) },
    events: events.map(({ data, ...event }) => {
      const { reply: _, ...rest } = data as { reply?: string }
      return { ...event, data: rest }
    }),
  }
}

function withoutPeersWords(report: ShownReport): ShownReport {
  return { ...report, reply: null, tls: report.tls && { ...report.tls, detail: null }, transcript: [] }
}
