/**
 * One message as RFC 5322 text, from its parts.
 *
 * The same composition always gives the same bytes: date, Message-ID and boundaries come from the caller, so that
 * what is sent again after a crash is the very same mail. nodemailer's MailComposer makes the MIME entity (parts,
 * transfer encodings, file names); the message's own header is written here, because MailComposer changes values
 * that must reach the reader unchanged (List-Id with quotes, A-labels beside a UTF-8 local part).
 *
 * The bytes hold CRLF only, no line over 998 octets, no NUL, no Bcc and no X-Mailer.
 */
import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import type { MailComposerAlternative, MailComposerAttachment } from 'nodemailer/lib/mail-composer'
import { detectMimeType } from 'nodemailer/lib/mime-funcs'
import { addressField, structuredField, textField } from './header-field.ts'
import type { Mailbox } from './mailbox.ts'

/**
 * At the start, not with the first mail: what cannot be loaded then, because an upgrade is replacing it, would be taken for a fault of the
 * mail. By `require`: it can fetch attachments, which we never ask for, and whoever imports `node:http` by `import` loads all of Node's `fetch`
 * with it, 0.05 s at the start of each process.
 */
const MailComposer: typeof import('nodemailer/lib/mail-composer').default = createRequire(import.meta.url)(
  'nodemailer/lib/mail-composer',
)

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

export interface ComposedAttachment {
  filename: string
  content: Buffer
  /** Null: told from the file name. */
  contentType: string | null
  /** With or without angle brackets; with an HTML part, `cid:` links in it find this attachment. */
  contentId: string | null
  /** Null: inline with a content id (but for text, which readers would join to the body), else attachment. */
  disposition: 'attachment' | 'inline' | null
}

/** The fields that `compose` writes, and Bcc, which must never be seen. */
const OWN_FIELDS =
  /^(?:from|sender|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|return-path|received)$/i
/** Fields whose value has a grammar, in which an encoded word may stand for a word of a phrase only. */
const STRUCTURED_FIELDS =
  /^(?:list-.*|in-reply-to|references|precedence|auto-submitted|feedback-id|importance|priority)$/i
const MESSAGE_ID = /^<[!-;=?-~]+@[!-;=?-~]+>$/
const BOUNDARY_SEED = /^[A-Za-z0-9]{16,40}$/

/**
 * Composes the message.
 *
 * @param ahead fields that stand before all others, as they are, each with its CRLF
 * @returns RFC 5322 text with CRLF line ends
 * @throws TypeError when the caller passes a field that is not its own to set, or an unfit Message-ID or boundary seed
 */
export async function compose(composition: Composition, ahead = ''): Promise<Buffer> {
  const header = ahead + messageHeader(composition)
  const entity = await mimeEntity(composition)
  const end = entity.indexOf('\r\n\r\n')
  const entityHeader = contentFields(entity.toString('latin1', 0, end))
  return Buffer.concat([Buffer.from(header), Buffer.from(entityHeader, 'latin1'), entity.subarray(end + 2)])
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

/** The body with its Content-* fields; what else nodemailer puts in the header is dropped by `contentFields`. */
async function mimeEntity(composition: Composition): Promise<Buffer> {
  const { text, html, attachments, boundarySeed, messageId, date } = composition
  if (!BOUNDARY_SEED.test(boundarySeed))
    throw new TypeError('A boundary seed has 16 to 40 letters and digits')
  const bodies: MailComposerAlternative[] = []
  if (text !== null) bodies.push(textPart('text/plain', text))
  if (html !== null) bodies.push(textPart('text/html', html))
  // A lone inline attachment would be read as the text.
  if (bodies.length === 0) bodies.push(textPart('text/plain', ''))
  const composer = new MailComposer({
    alternatives: bodies,
    attachments: attachments.map(attachmentPart),
    messageId,
    date,
    baseBoundary: boundarySeed,
    // Neither quoted-printable nor base64 can hold "=_" (RFC 2045 section 6.7).
    boundaryPrefix: '=_',
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return composer.compile().build()
}

/** Line ends become CRLF; nodemailer then chooses 7bit, quoted-printable or base64 by what the text holds. */
function textPart(type: string, text: string): MailComposerAlternative {
  return { contentType: `${type}; charset=utf-8`, content: text.replace(/\r\n|\r|\n/g, '\r\n') }
}

function attachmentPart(attachment: ComposedAttachment): MailComposerAttachment {
  const { filename, content, contentId, disposition } = attachment
  const contentType = encodableType(attachment.contentType ?? detectMimeType(filename))
  const isForInline = contentId !== null && !/^text\//i.test(contentType)
  return {
    filename,
    content,
    contentType,
    contentTransferEncoding: 'base64',
    contentDisposition: disposition ?? (isForInline ? 'inline' : 'attachment'),
    ...(contentId === null ? {} : { cid: contentId.replace(/[<>]/g, '') }),
  }
}

/** Composite types may not be in base64 (RFC 2046 section 5), and as they are they could break the lines' limits. */
function encodableType(contentType: string): string {
  return /^\s*(?:message|multipart)\//i.test(contentType) ? 'application/octet-stream' : contentType
}

/** Keeps Content-*, with their folded lines. */
function contentFields(header: string): string {
  return header
    .split(/\r\n(?![ \t])/)
    .filter((field) => /^content-/i.test(field))
    .map((field) => `${field}\r\n`)
    .join('')
}
