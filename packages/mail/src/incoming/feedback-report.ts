/**
 * Complaints: abuse reports in ARF (RFC 5965), as providers send them, and those of Microsoft (JMRP), which only forward the mail.
 *
 * Which recipient it is about has to come from the mail that is returned: most providers black the addresses out.
 */
import type { IncomingMail } from './incoming-mail.ts'
import { type MailParts, readFields, textOf } from './mail-parts.ts'
import { originalFields, readTraces } from './original-traces.ts'
import { findAddress, reportedAddress } from './reported-address.ts'

type Complaint = Extract<IncomingMail, { kind: 'complaint' }>

/** Fields of a report that name the recipient, best first (RFC 5965 section 3.2, and what AOL and Yahoo write). */
const RECIPIENT_FIELDS = ['original-rcpt-to', 'removal-recipient', 'x-rcpt-to', 'x-original-to']

/** @returns null when the mail is no complaint */
export async function readComplaint(mail: MailParts): Promise<Complaint | null> {
  const report = mail.parts.find((part) => part.type === 'message/feedback-report')
  const text = report === undefined ? bareReport(mail) : textOf(report.content.subarray(0, 65_536))
  if (text === null) return isHotmailComplaint(mail) ? await toComplaint(mail, new Map()) : null
  const fields = new Map<string, string[]>()
  for (const { name, value } of await readFields(text.trimStart())) {
    fields.set(name, [...(fields.get(name) ?? []), value])
  }
  return toComplaint(mail, fields)
}

async function toComplaint(mail: MailParts, fields: Map<string, string[]>): Promise<Complaint> {
  const original = await originalFields(mail)
  const reported = RECIPIENT_FIELDS.flatMap((name) => fields.get(name) ?? [])
  const quoted = original
    .filter(({ name }) => name === 'x-hmxmroriginalrecipient' || name === 'to')
    .map(({ value }) => value)
  const recipients = [...reported, ...quoted]
    .map((value) => reportedAddress(value))
    .filter((address) => address !== null && !isBlackedOut(address))
  const from = findAddress(mail.field('from') ?? '')
  return {
    kind: 'complaint',
    feedbackType: fields.get('feedback-type')?.[0]?.trim().toLowerCase().slice(0, 50) || 'abuse',
    recipients: [...new Set(recipients as string[])],
    original: await readTraces(mail),
    source: fields.get('user-agent')?.[0]?.slice(0, 200) ?? from?.slice(from.lastIndexOf('@') + 1) ?? null,
  }
}

/** Senders that put the report's fields into the text, or whose part has another type. */
function bareReport(mail: MailParts): string | null {
  const start = /^feedback-type[ \t]{0,5}:/im
  const isReport = /report-type="?feedback-report/i.test(mail.field('content-type') ?? '')
  for (const text of [
    ...mail.parts.map((part) => textOf(part.content.subarray(0, 65_536))),
    mail.text,
    mail.body,
  ]) {
    const at = start.exec(text)?.index
    if (at === undefined) continue
    const block = text.slice(at).split('\n\n', 1)[0] ?? ''
    if (isReport || /^user-agent[ \t]{0,5}:/im.test(block)) return block
  }
  return null
}

/** Microsoft's JMRP: the mail as an attachment, from staff@hotmail.com, with the recipient in a field of its own. */
function isHotmailComplaint(mail: MailParts): boolean {
  return mail.parts.some(
    (part) =>
      part.type === 'message/rfc822' &&
      /^x-hmxmroriginalrecipient[ \t]{0,5}:/im.test(part.content.toString('latin1', 0, 65_536)),
  )
}

function isBlackedOut(address: string): boolean {
  return /^(?:redacted|removed|undisclosed|x{3,}|\*+)@|@(?:redacted|removed)\b|\*\*|redacted/i.test(address)
}
