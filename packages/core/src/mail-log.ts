/**
 * The mail log: one line per step of a mail's life, message id first, fields in a fixed order, so that
 * `grep <message id>` tells the whole story. An interface for operators: changing a field is a change of the product.
 *
 * Bodies and subjects never stand in it.
 */
import { formatId, type Uuid } from './ids.ts'

/** Writes one line; the app hands in its logger. */
export type WriteLogLine = (fields: Record<string, string | number | boolean | null>, text: string) => void

export interface MailLog {
  accepted(mail: {
    messageId: Uuid
    tenantId: Uuid
    from: string
    recipientCount: number
    sizeBytes: number
  }): void
  attempted(attempt: {
    messageId: Uuid
    recipientId: Uuid
    tenantId: Uuid
    email: string
    number: number
    route: string
    host: string | null
    outcome: string
    reason: string | null
    reply: string | null
    nextInMs: number | null
    durationMs: number
  }): void
  /** A recipient that ended without an attempt: expired or suppressed. */
  ended(end: {
    messageId: Uuid
    recipientId: Uuid
    tenantId: Uuid
    email: string
    outcome: string
    reason: string
  }): void
  /** A bounce or complaint that came back as mail and was applied. */
  reported(report: {
    messageId: Uuid
    recipientId: Uuid
    tenantId: Uuid
    email: string
    kind: string
    outcome: string
    reason: string | null
    reply: string | null
    via: string
  }): void
  /** An aggregate report that came to a domain's address, and what came of it: `kept`, `known`, `foreign` … */
  domainReported(report: {
    domainId: Uuid
    kind: string
    reporter: string
    reportId: string
    outcome: string
    via: string
  }): void
  /** A mail at an address for reports that changed nothing, and why. */
  reportIgnored(report: { kind: string; reason: string; via: string; sizeBytes: number }): void
}

export function createMailLog(write: WriteLogLine): MailLog {
  return {
    accepted: ({ messageId, tenantId, from, recipientCount, sizeBytes }) =>
      write(
        {
          message: formatId('message', messageId),
          tenant: formatId('tenant', tenantId),
          from,
          recipients: recipientCount,
          bytes: sizeBytes,
        },
        'accepted',
      ),
    attempted: (attempt) =>
      write(
        {
          message: formatId('message', attempt.messageId),
          recipient: formatId('recipient', attempt.recipientId),
          tenant: formatId('tenant', attempt.tenantId),
          to: attempt.email,
          attempt: attempt.number,
          route: attempt.route,
          host: attempt.host,
          outcome: attempt.outcome,
          reason: attempt.reason,
          reply: attempt.reply,
          nextInMs: attempt.nextInMs,
          durationMs: attempt.durationMs,
        },
        attempt.outcome,
      ),
    ended: ({ messageId, recipientId, tenantId, email, outcome, reason }) =>
      write(
        {
          message: formatId('message', messageId),
          recipient: formatId('recipient', recipientId),
          tenant: formatId('tenant', tenantId),
          to: email,
          outcome,
          reason,
        },
        outcome,
      ),
    reported: (report) =>
      write(
        {
          message: formatId('message', report.messageId),
          recipient: formatId('recipient', report.recipientId),
          tenant: formatId('tenant', report.tenantId),
          to: report.email,
          report: report.kind,
          outcome: report.outcome,
          reason: report.reason,
          reply: report.reply,
          via: report.via,
        },
        report.outcome,
      ),
    domainReported: ({ domainId, kind, reporter, reportId, outcome, via }) =>
      write(
        { domain: formatId('domain', domainId), report: kind, reporter, id: reportId, outcome, via },
        'domain report',
      ),
    reportIgnored: ({ kind, reason, via, sizeBytes }) =>
      write({ report: kind, reason, via, bytes: sizeBytes }, 'report ignored'),
  }
}
