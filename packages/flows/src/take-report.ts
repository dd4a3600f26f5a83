/**
 * A mail that came back: over SMTP to an address of ours, or out of a mailbox. Read, matched with the message that it is about, and
 * applied in one transaction, once, however often it comes.
 *
 * Nothing is ever answered by mail. What is not signed by us, or not about what was signed, changes nothing and is counted.
 */
import { createHash } from 'node:crypto'
import type { IdSource, JudgeBounce, MailLog, Uuid } from '@valija/core'
import { type IncomingMail, readIncoming } from '@valija/mail'
import {
  applyReport,
  type Database,
  findReportedMails,
  type ReportEffect,
  type ReportedMail,
  type Wake,
} from '@valija/store'
import {
  type Bounce,
  type Complaint,
  findTargets,
  type IgnoredReason,
  type MessageTarget,
  matchBounce,
  matchComplaint,
  quotesAnother,
} from './match-report.ts'
import type { ReportAddresses } from './report-address.ts'
import { bounceEffect, complaintEffect, type EffectParts } from './report-effect.ts'
import { type AggregateMail, takeDomainReport } from './take-domain-report.ts'

export interface ReportDesk {
  database: Database
  /** PostgreSQL's. */
  clock: { nowMs(): number }
  nextId: IdSource
  wake: Wake
  addresses: ReportAddresses
  judgeBounce: JudgeBounce
  mailLog: MailLog
}

/** How a report came. A mailbox of a tenant can say something of that tenant's mail only; null: the operator's. */
export type ReportWay =
  | { kind: 'smtp' }
  | { kind: 'mailbox'; mailboxId: Uuid; uid: string; tenantId: Uuid | null }

export interface IncomingReport {
  raw: Buffer
  /** Addresses that it came to: of RCPT, or of Delivered-To and the like. */
  recipients: readonly string[]
  via: ReportWay
}

export type TakenReport =
  | { outcome: 'applied' | 'report' }
  /** It is told of in the log, and nothing has changed. */
  | { outcome: 'ignored' | 'unknown'; reason: IgnoredReason }
  /** Our own result is not written yet: the report has to come again. */
  | { outcome: 'later' }

/** @throws {Error} the database's: nothing is applied, and the report has to come again */
export async function takeReport(desk: ReportDesk, report: IncomingReport): Promise<TakenReport> {
  const incoming = await readIncoming(report.raw)
  const taken = await take(desk, report, incoming)
  if ('reason' in taken) {
    const { kind } = incoming
    const sizeBytes = report.raw.length
    desk.mailLog.reportIgnored({ kind, reason: taken.reason, via: report.via.kind, sizeBytes })
  }
  return taken
}

async function take(desk: ReportDesk, report: IncomingReport, incoming: IncomingMail): Promise<TakenReport> {
  if (incoming.kind === 'dmarc_report' || incoming.kind === 'tls_report')
    return takeAggregate(desk, report, incoming)
  if (incoming.kind !== 'bounce' && incoming.kind !== 'complaint')
    return { outcome: 'ignored', reason: incoming.kind }
  const found = findTargets(report.recipients, incoming.original, desk.addresses.read)
  if ('ignored' in found) return { outcome: 'unknown', reason: found.ignored }
  const outcomes: TakenReport[] = []
  for (const target of found.targets) outcomes.push(await takeFor(desk, report, incoming, target))
  return (
    outcomes.find(({ outcome }) => outcome === 'later') ??
    outcomes.find(({ outcome }) => outcome === 'applied') ??
    outcomes[0]!
  )
}

async function takeAggregate(
  desk: ReportDesk,
  { recipients, via }: IncomingReport,
  mail: AggregateMail,
): Promise<TakenReport> {
  const tenantId = via.kind === 'mailbox' ? via.tenantId : null
  const reason = await takeDomainReport(desk, mail, { recipients, via: via.kind, tenantId })
  return reason === null ? { outcome: 'report' } : { outcome: 'ignored', reason }
}

/** @param target of a signed address: what the report may be about */
async function takeFor(
  desk: ReportDesk,
  report: IncomingReport,
  incoming: Bounce | Complaint,
  target: MessageTarget,
): Promise<TakenReport> {
  const ordinal = target.kind === 'recipient' ? target.ordinal : null
  const mails = await findReportedMails(desk.database.engine, target.messageId, ordinal)
  const reason = whyNot(desk, report, incoming, mails)
  if (reason !== null) return { outcome: 'unknown', reason }
  const parts = { nextId: desk.nextId, nowMs: desk.clock.nowMs, fingerprint: fingerprintOf(report.raw) }
  const effects = effectsOf(desk, parts, incoming, mails, ordinal !== null)
  if (!Array.isArray(effects)) return { outcome: 'ignored', reason: effects }
  const results: TakenReport[] = []
  for (const effect of effects) results.push(await apply(desk, report, effect))
  return results.find(({ outcome }) => outcome !== 'ignored') ?? results[0]!
}

function whyNot(
  { addresses }: ReportDesk,
  { via }: IncomingReport,
  { original }: Bounce | Complaint,
  mails: readonly ReportedMail[],
): IgnoredReason | null {
  const [mail] = mails
  if (mail === undefined) return 'gone'
  if (via.kind === 'mailbox' && via.tenantId !== null && via.tenantId !== mail.tenantId) return 'other_tenant'
  if (mail.isSimulated) return 'simulated'
  return quotesAnother(original, mail, addresses.read) ? 'other_message' : null
}

/** What providers send over a feedback loop without a complaint (RFC 5965 section 7.3) is none. */
const complaintTypes = new Set(['abuse', 'fraud', 'opt-out', 'opt-out-list'])

function effectsOf(
  { judgeBounce }: ReportDesk,
  parts: EffectParts,
  incoming: Bounce | Complaint,
  mails: readonly ReportedMail[],
  isOne: boolean,
): ReportEffect[] | IgnoredReason {
  if (incoming.kind === 'complaint') {
    if (!complaintTypes.has(incoming.feedbackType)) return 'not_a_complaint'
    const mail = matchComplaint(incoming, mails, isOne)
    return mail === null ? 'other_recipient' : [complaintEffect(parts, mail, incoming)]
  }
  const bounced = matchBounce(incoming, mails, isOne)
  if (bounced.length === 0) return 'other_recipient'
  const final = bounced.filter(({ reported }) => reported.action === 'failed')
  if (final.length === 0) return 'not_final'
  return final.map((one) => bounceEffect(parts, one, judgeBounce(one.reported)))
}

async function apply(desk: ReportDesk, { via }: IncomingReport, effect: ReportEffect): Promise<TakenReport> {
  const { outcome, hasWebhooks } = await applyReport(desk.database.engine, effect)
  if (outcome === 'live') return { outcome: 'later' }
  if (outcome === 'gone') return { outcome: 'unknown', reason: outcome }
  if (outcome !== 'applied') return { outcome: 'ignored', reason: outcome }
  if (hasWebhooks) desk.wake.send('webhooks')
  const { mail, kind, reason, reply, eventType } = effect
  const { messageId, recipientId, tenantId, email } = mail
  const what = eventType.slice('message.'.length)
  desk.mailLog.reported({
    ...{ messageId, recipientId, tenantId, email, kind },
    ...{ outcome: what, reason, reply, via: via.kind },
  })
  return { outcome: 'applied' }
}

/**
 * The same for one report, by whichever way it comes: each adds header fields of its own, and mailboxes change line ends. The body
 * of a report has a date, queue ids or a boundary that no other has; two of one text about one recipient say the same.
 */
export function fingerprintOf(raw: Buffer): Buffer {
  const text = raw.toString('latin1').replaceAll('\r', '')
  const end = text.indexOf('\n\n')
  const body = end < 0 ? text : text.slice(end)
  return createHash('sha256').update(body.trim(), 'latin1').digest()
}
