/** The mail log, counted as well: what a graph shows and what a line tells come from the same place. */
import type { MailLog } from '@valija/core'

/** An API process counts what it accepts, a worker what it tries and ends. */
export interface MailCounters {
  accepted?: { add(labels: Record<never, string>, by?: number): void }
  attempts?: { add(labels: { route: string; outcome: string; reason: string }, by?: number): void }
  ended?: { add(labels: { outcome: string; reason: string }, by?: number): void }
  /** `outcome`: what was applied, or why nothing was. */
  reports?: { add(labels: { kind: string; outcome: string }, by?: number): void }
}

/** What `accepted` is made of: one definition, so that both ways in count together. */
export const acceptedCounted = {
  name: 'valija_recipients_accepted_total',
  help: 'Recipients of accepted messages, by HTTP (202) or SMTP (250).',
} as const

/** What `reports` is made of: one definition, so that all parts of a process that write reports down count together. */
export const reportsCounted = {
  name: 'valija_reports_total',
  help: 'Mails at return paths and report addresses, and in mailboxes, by kind and what came of them: bounced, complained, or why nothing was changed.',
  labels: ['kind', 'outcome'],
} as const

export function meterMailLog(mailLog: MailLog, counters: MailCounters): MailLog {
  return {
    accepted: (mail) => {
      counters.accepted?.add({}, mail.recipientCount)
      mailLog.accepted(mail)
    },
    attempted: (attempt) => {
      const { route, outcome, reason } = attempt
      counters.attempts?.add({ route, outcome, reason: reason ?? '' })
      mailLog.attempted(attempt)
    },
    ended: (end) => {
      counters.ended?.add({ outcome: end.outcome, reason: end.reason })
      mailLog.ended(end)
    },
    reported: (report) => {
      counters.reports?.add({ kind: report.kind, outcome: report.outcome })
      mailLog.reported(report)
    },
    domainReported: (report) => {
      // What was not kept is counted once per mail, by `reportIgnored`.
      if (report.outcome === 'kept')
        counters.reports?.add({ kind: `${report.kind}_report`, outcome: report.outcome })
      mailLog.domainReported(report)
    },
    reportIgnored: (report) => {
      counters.reports?.add({ kind: report.kind, outcome: report.reason })
      mailLog.reportIgnored(report)
    },
  }
}
