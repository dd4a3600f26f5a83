/**
 * A mail that came back: over SMTP to an address of ours, or out of a mailbox. Read, matched with the message that it is about, and
 * applied in one transaction, once, however often it comes.
 *
 * Nothing is ever answered by mail. What is not signed by us, or not about what was signed, changes nothing and is counted. What names
 * the mail decides whose it can be; the first line that is there counts:
 *
 *   what names the mail               bounce                     complaint            aggregate report
 *   b-… that it came to               of that recipient, if it   of that recipient    nothing
 *                                     names it or nobody
 *   c-… that it came to               as the next line says      as the next line     nothing
 *     with a b-… of the message       as to that b-…             as to that b-…       nothing
 *     quoted
 *     without, one recipient          as to its b-…              as to its b-…        nothing
 *     without, several recipients     nothing: other_recipient   the same             nothing
 *   r-… that it came to               nothing by itself          nothing by itself    of that domain
 *   b-… quoted, in whatever came      as to that b-…             as to that b-…       nothing
 *     to none of b-… and c-…
 *   c-… in the quoted                 as c-… without a b-…       as c-… without       nothing
 *     X-Valija-Recipient, no b-…                                 a b-…
 *
 * A b-… is in the envelope that one recipient's hosts had in hand. A c-… is in the octets that all recipients have: whoever of them
 * reports with it could name another one, so of several it proves nothing, whatever the report says. Also, whoever has named the mail,
 * the header that is quoted has to be of that message (other_message), and a tenant's mailbox says nothing of another's (other_tenant).
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
  ordinalOf,
  quotesAnother,
  readNames,
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
  const effectOf = createEffects(desk, report, incoming)
  const outcomes: TakenReport[] = []
  for (const target of found.targets) outcomes.push(await takeFor(desk, report, incoming, target, effectOf))
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
  effectOf: (mail: ReportedMail) => ReportEffect | IgnoredReason,
): Promise<TakenReport> {
  const ordinal = ordinalOf(target, incoming.original, desk.addresses.read)
  const [mail, another] = await findReportedMails(desk.database.engine, target.messageId, ordinal)
  if (mail === undefined) return { outcome: 'unknown', reason: 'gone' }
  const reason = whyNot(desk, report, incoming, mail)
  if (reason !== null) return { outcome: 'unknown', reason }
  if (another !== undefined) return { outcome: 'ignored', reason: 'other_recipient' }
  const effect = effectOf(mail)
  return typeof effect === 'string' ? { outcome: 'ignored', reason: effect } : apply(desk, report, effect)
}

function whyNot(
  { addresses }: ReportDesk,
  { via }: IncomingReport,
  { original }: Bounce | Complaint,
  mail: ReportedMail,
): IgnoredReason | null {
  if (via.kind === 'mailbox' && via.tenantId !== null && via.tenantId !== mail.tenantId) return 'other_tenant'
  if (mail.isSimulated) return 'simulated'
  return quotesAnother(original, mail, addresses.read) ? 'other_message' : null
}

/** What providers send over a feedback loop without a complaint (RFC 5965 section 7.3) is none. */
const complaintTypes = new Set(['abuse', 'fraud', 'opt-out', 'opt-out-list'])

/** @returns a function that says what follows for a recipient, or why nothing does */
function createEffects(
  { judgeBounce, nextId, clock }: ReportDesk,
  { raw }: IncomingReport,
  incoming: Bounce | Complaint,
): (mail: ReportedMail) => ReportEffect | IgnoredReason {
  const parts: EffectParts = { nextId, nowMs: clock.nowMs, fingerprint: fingerprintOf(raw) }
  if (incoming.kind === 'complaint') {
    const isOne = complaintTypes.has(incoming.feedbackType)
    return (mail) => (isOne ? complaintEffect(parts, mail, incoming) : 'not_a_complaint')
  }
  const names = readNames(incoming)
  return (mail) => {
    const reported = matchBounce(names, mail)
    if (reported === null) return 'other_recipient'
    if (reported.action !== 'failed') return 'not_final'
    return bounceEffect(parts, { mail, reported }, judgeBounce(reported))
  }
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
