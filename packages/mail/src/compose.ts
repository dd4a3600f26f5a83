/**
 * One message as RFC 5322 text, from its parts.
 *
 * The same composition always gives the same bytes: date, Message-ID and boundaries come from the caller, so that
 * what is sent again after a crash is the very same mail. The header is written here and in header-field.ts, which keeps what must reach
 * the reader unchanged (List-Id with quotes, A-labels beside a UTF-8 local part); the parts in mime-entity.ts.
 *
 * The bytes hold CRLF only, no line over 998 octets, no NUL, no Bcc and no X-Mailer.
 */
import type { Buffer } from 'node:buffer'
import { addressField, structuredField, textField } from './header-field.ts'
import type { Mailbox } from './mailbox.ts'
import { mimeMessage } from './mime-entity.ts'
import type { ComposedAttachment } from './part-header.ts'

export type { ComposedAttachment }

export interface Composition {
  from: Mailbox
  replyTo: Mailbox[]
  to: Mailbox[]
  cc: Mailbox[]
  /** Any text; an empty one leaves the field out. */
  subject: string
  /** Any text, with line ends of any kind; null for no such part. */
  text: string | null
  html: string | null
  /** In order. Names that this file writes itself are refused, and so is Bcc. */
  headers: [name: string, value: string][]
  attachments: ComposedAttachment[]
  /** With its angle brackets. */
  messageId: string
  date: Date
  /** Letters and digits, 16 to 40 of them, that the sender of the text could not foresee. */
  boundarySeed: string
}

/** The fields that `compose` writes, and Bcc, which must never be seen. */
const OWN_FIELDS =
  /^(?:from|sender|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|return-path|received)$/i
/** Fields whose value has a grammar, in which an encoded word may stand for a word of a phrase only. */
const STRUCTURED_FIELDS =
  /^(?:list-.*|in-reply-to|references|precedence|auto-submitted|feedback-id|importance|priority)$/i
/** Ours are an id and a domain; the field stays on one line (RFC 5322 section 2.1.1). */
const MESSAGE_ID = /^<[!-;=?-~]{1,400}@[!-;=?-~]{1,400}>$/
const BOUNDARY_SEED = /^[A-Za-z0-9]{16,40}$/

/**
 * Composes the message.
 *
 * @param ahead fields that stand before all others, as they are, each with its CRLF
 * @returns RFC 5322 text with CRLF line ends
 * @throws TypeError when the caller passes a field that is not its own to set, or an unfit Message-ID or boundary seed
 */
export function compose(composition: Composition, ahead = ''): Buffer {
  if (!BOUNDARY_SEED.test(composition.boundarySeed))
    throw new TypeError('A boundary seed has 16 to 40 letters and digits')
  return mimeMessage(ahead + messageHeader(composition), composition)
}

/** Whether an address in the header is in UTF-8, so that the message may only go to hosts with SMTPUTF8 (RFC 6531). */
export function needsSmtpUtf8(composition: Pick<Composition, 'from' | 'replyTo' | 'to' | 'cc'>): boolean {
  const { from, replyTo, to, cc } = composition
  return [from, ...replyTo, ...to, ...cc].some((mailbox) => mailbox.address.needsSmtpUtf8)
}

function messageHeader(composition: Composition): string {
  const { from, replyTo, to, cc, subject, headers, messageId, date } = composition
  if (!MESSAGE_ID.test(messageId)) throw new TypeError(`Not a message id: ${JSON.stringify(messageId)}`)
  const fields = [addressField('From', [from])]
  if (to.length > 0) fields.push(addressField('To', to))
  if (cc.length > 0) fields.push(addressField('Cc', cc))
  // RFC 5322 lets a message be without recipients, but not every receiver does.
  if (to.length === 0 && cc.length === 0) fields.push('To: undisclosed-recipients:;\r\n')
  if (replyTo.length > 0) fields.push(addressField('Reply-To', replyTo))
  if (subject !== '') fields.push(textField('Subject', subject))
  fields.push(`Date: ${date.toUTCString().replace('GMT', '+0000')}\r\n`, `Message-ID: ${messageId}\r\n`)
  for (const [name, value] of headers) {
    if (OWN_FIELDS.test(name)) throw new TypeError(`The field ${name} is not the caller's to set`)
    fields.push(STRUCTURED_FIELDS.test(name) ? structuredField(name, value) : textField(name, value))
  }
  fields.push('MIME-Version: 1.0\r\n')
  return fields.join('')
}
