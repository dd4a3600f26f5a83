/**
 * Reads a mail that came to a return path or a report address: is it a bounce, a complaint, an aggregate report, or only
 * somebody's absence note? Pure, and safe for any octets: it never throws, its time grows with the mail's length, and it looks at
 * no more than 1 MiB of a mail (24 MiB of an aggregate report).
 *
 * In this order, the first that fits: aggregate report → complaint → delivery status → auto-reply → challenge → a bounce for people.
 */
import type { Buffer } from 'node:buffer'
import { readAggregateReport } from './aggregate-report.ts'
import { readBounce } from './bounce.ts'
import { readComplaint } from './feedback-report.ts'
import type { IncomingMail } from './incoming-mail.ts'
import { isAutomatic, isAutoReply, isChallenge, isReadReceipt } from './mail-character.ts'
import { takeApart, USUAL_OCTETS } from './mail-parts.ts'
import { readTraces } from './original-traces.ts'

/** The attachments of the largest reporters stay below half of it. */
const REPORT_OCTETS = 25_165_824

/** @param raw the mail as it came, with CRLF or LF line ends */
export async function readIncoming(raw: Buffer): Promise<IncomingMail> {
  const mail = await takeApart(raw)
  const report = readAggregateReport(mail)
  if (report !== null) {
    if (raw.length <= USUAL_OCTETS) return report
    return readAggregateReport(await takeApart(raw, REPORT_OCTETS)) ?? report
  }
  const complaint = await readComplaint(mail)
  if (complaint !== null) return complaint
  if (isReadReceipt(mail)) return { kind: 'auto_reply' }
  const recipients = await readBounce(mail)
  if (recipients.length > 0) return { kind: 'bounce', recipients, original: await readTraces(mail) }
  if (isChallenge(mail)) return { kind: 'challenge' }
  return { kind: isAutoReply(mail) || isAutomatic(mail) ? 'auto_reply' : 'other' }
}
