/**
 * Which mails are DMARC aggregate reports (RFC 7489 section 7.2.1.1) or TLS reports (RFC 8460 section 5.3). What is in them is
 * read elsewhere: their attachments are compressed and not to be trusted.
 */

import type { IncomingMail, ReportAttachment } from './incoming-mail.ts'
import type { MailPart, MailParts } from './mail-parts.ts'

type Report = Extract<IncomingMail, { kind: 'dmarc_report' | 'tls_report' }>

const TLS_TYPE = /^application\/tlsrpt\+(?:json|gzip)$/
const PACKED_TYPE =
  /^(?:application\/(?:zip|gzip|x-zip|x-gzip|x-zip-compressed|octet-stream|xml|json)|text\/xml)$/
/** receiver "!" policy domain "!" begin "!" end, with an extension. */
const DMARC_NAME = /^[^!\s]{1,255}![^!\s]{1,255}!\d{1,12}!\d{1,12}(?:![^!]{1,200})?\.(?:xml|zip|gz|xml\.gz)$/i
const TLS_NAME = /^[^!\s]{1,255}![^!\s]{1,255}!\d{1,12}!\d{1,12}(?:![^!]{1,200})?\.json(?:\.gz)?$/i

/** @returns null when the mail is no such report */
export function readAggregateReport(mail: MailParts): Report | null {
  const subject = mail.field('subject') ?? ''
  const isTls =
    mail.field('tls-report-domain') !== null ||
    mail.parts.some((part) => TLS_TYPE.test(part.type) || TLS_NAME.test(part.filename ?? ''))
  if (isTls) {
    return withAttachments(
      'tls_report',
      mail.parts.filter((part) => TLS_TYPE.test(part.type) || isPacked(part)),
    )
  }
  // "Report Domain: example.com Submitter: receiver.example Report-ID: <…>", with oddities in case and spacing.
  const isDmarc =
    mail.parts.some((part) => DMARC_NAME.test(part.filename ?? '')) ||
    (/report[- ]?domain:/i.test(subject) && /(?:submitter|report-id):/i.test(subject))
  return isDmarc ? withAttachments('dmarc_report', mail.parts.filter(isPacked)) : null
}

function isPacked(part: MailPart): boolean {
  return PACKED_TYPE.test(part.type) || /\.(?:xml|json|zip|gz)$/i.test(part.filename ?? '')
}

function withAttachments(kind: Report['kind'], parts: readonly MailPart[]): Report | null {
  if (parts.length === 0) return null
  const attachments: ReportAttachment[] = parts.map(({ filename, type, content }) => ({
    filename,
    contentType: type,
    content,
  }))
  return { kind, attachments }
}
