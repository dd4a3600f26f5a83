/** Bounces and complaints as other hosts write them, about mails that a peer of a test has taken. */
import type { ReceivedMail } from './smtp-peer.ts'

export type BounceOptions = {
  /** `failed` unless it says otherwise. */
  action?: 'failed' | 'delayed'
  status?: string
  /** What the last host said. */
  diagnostic?: string
  /** Whom it is about; the mail's recipient when absent. */
  recipient?: string
  /** The mail whose header is quoted, when it is not that which bounces. */
  quoted?: ReceivedMail
}

const headerOf = (mail: ReceivedMail): string => mail.text.split('\r\n\r\n', 1)[0]!

let made = 0

/** RFC 3464 section 5, as Postfix writes it. No two are alike. */
export function bounceOf(mail: ReceivedMail, options: BounceOptions = {}): string {
  const { action = 'failed', status = '5.1.1', diagnostic = '550 5.1.1 No such user here' } = options
  const recipient = options.recipient ?? mail.to[0]!
  made += 1
  const boundary = `report-${process.pid}-${made}`
  const lines = [
    'Return-Path: <>',
    'Date: Thu, 26 Nov 2026 06:00:00 +0000',
    'From: MAILER-DAEMON@mx.example.test (Mail Delivery System)',
    'Subject: Undelivered Mail Returned to Sender',
    `To: ${mail.from}`,
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=us-ascii',
    '',
    `<${recipient}>: host mx.example.test said: ${diagnostic}`,
    '',
    `--${boundary}`,
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; relay.example.test',
    'Arrival-Date: Thu, 26 Nov 2026 05:59:00 +0000',
    '',
    `Final-Recipient: rfc822; ${recipient}`,
    `Original-Recipient: rfc822;${recipient}`,
    `Action: ${action}`,
    `Status: ${status}`,
    'Remote-MTA: dns; mx.example.test',
    `Diagnostic-Code: smtp; ${diagnostic}`,
    '',
    `--${boundary}`,
    'Content-Type: text/rfc822-headers',
    '',
    `Return-Path: <${mail.from}>`,
    headerOf(options.quoted ?? mail),
    '',
    `--${boundary}--`,
  ]
  return lines.join('\r\n')
}

/**
 * RFC 5965, with every address blacked out, as most providers send it.
 *
 * @param recipient who complains, where it is told
 */
export function complaintOf(mail: ReceivedMail, feedbackType = 'abuse', recipient?: string): string {
  made += 1
  const boundary = `feedback-${process.pid}-${made}`
  const blacked = headerOf(mail).replace(/^(to|cc):.*(?:\r\n[ \t].*)*/gim, '$1: <redacted@redacted.test>')
  const lines = [
    'From: <feedback@provider.example.test>',
    'Subject: FW: complaint',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=feedback-report; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain',
    '',
    'This is an email abuse report.',
    '',
    `--${boundary}`,
    'Content-Type: message/feedback-report',
    '',
    `Feedback-Type: ${feedbackType}`,
    'User-Agent: ProviderFBL/1.0',
    'Version: 1',
    ...(recipient === undefined ? [] : [`Original-Rcpt-To: <${recipient}>`]),
    '',
    `--${boundary}`,
    'Content-Type: message/rfc822',
    '',
    blacked,
    '',
    'Hello',
    '',
    `--${boundary}--`,
  ]
  return lines.join('\r\n')
}
