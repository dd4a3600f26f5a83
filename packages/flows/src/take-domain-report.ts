/**
 * A mail with aggregate reports: kept for the domain whose signed address it came to. Without such an address it is about nobody, whatever
 * it says of itself.
 */
import type { MailLog, Uuid } from '@valija/core'
import type { IncomingMail } from '@valija/mail'
import type { Database } from '@valija/store'
import { type DomainReportVerdict, keepReport } from './keep-domain-report.ts'
import type { IgnoredReason } from './match-report.ts'
import type { ReportAddresses } from './report-address.ts'

export interface DomainReportIntake {
  database: Database
  addresses: ReportAddresses
  mailLog: MailLog
}

export type AggregateMail = Extract<IncomingMail, { kind: 'dmarc_report' | 'tls_report' }>

/**
 * @param from where it came to and how; `tenantId` of a tenant's mailbox, in which only its own domains are reported about
 * @returns null when a report was kept; else why none was
 * @throws {Error} the database's: it has to come again
 */
export async function takeDomainReport(
  { database, addresses, mailLog }: DomainReportIntake,
  mail: AggregateMail,
  from: { recipients: readonly string[]; via: string; tenantId: Uuid | null },
): Promise<IgnoredReason | null> {
  const read = from.recipients.map((address) => addresses.read(address))
  const domainIds = read.flatMap((found) =>
    found.ok && found.target.kind === 'domain' ? [found.target.domainId] : [],
  )
  const faults = read.flatMap((found) => (found.ok ? [] : [found.fault]))
  if (domainIds.length === 0) return faults.find((fault) => fault !== 'foreign') ?? 'foreign'
  const reasons: (IgnoredReason | null)[] = []
  for (const domainId of new Set(domainIds)) {
    const { tenantId } = from
    const verdict = await keepReport({ database }, { domainId, tenantId, attachments: mail.attachments })
    for (const { kind, reporter, reportId, outcome } of verdict.reports)
      mailLog.domainReported({ domainId, kind, reporter, reportId, outcome, via: from.via })
    reasons.push(reasonOf(verdict))
  }
  return reasons.includes(null) ? null : (reasons[0] ?? null)
}

function reasonOf({ isGone, reports }: DomainReportVerdict): IgnoredReason | null {
  if (isGone || reports.some(({ outcome }) => outcome === 'no_domain')) return 'gone'
  const outcomes = reports.map(({ outcome }) => outcome)
  if (outcomes.includes('kept')) return null
  if (outcomes.includes('known')) return 'repeated'
  if (outcomes.includes('foreign')) return 'other_domain'
  return outcomes.includes('too_many') ? 'too_many' : 'not_readable'
}
