/**
 * The body of a message as a MIME entity: text, HTML and files in the tree that readers expect (RFC 2046 section 5.1, RFC 2387).
 *
 * ```
 * multipart/mixed             with attached files
 *   multipart/alternative     with text and HTML
 *     text/plain
 *     multipart/related       with HTML and files that it may show by their content id
 *       text/html
 *       a file, …
 *   a file, …
 * ```
 *
 * What has but one part stands without its multipart. The octets are those of nodemailer's composer, see transfer-encoding.ts.
 */
import { Buffer } from 'node:buffer'
import { attachmentFields, type ComposedAttachment, contentIdOf } from './part-header.ts'
import { encodeBase64, encodeText } from './transfer-encoding.ts'

export interface EntityParts {
  /** Any text, with line ends of any kind; null for no such part. */
  text: string | null
  html: string | null
  attachments: ComposedAttachment[]
  /** Letters and digits, 16 to 40 of them, that the sender of the text could not foresee. */
  boundarySeed: string
}

/** A leaf with its fields, each with its CRLF, and its octets; or a multipart. */
type Part = { fields: string[]; octets: Buffer } | { type: string; parts: Part[] }

/**
 * Writes a message.
 *
 * @param header its fields, but for Content-*, each with its CRLF
 * @returns RFC 5322 text that ends in CRLF
 */
export function mimeMessage(header: string, asked: EntityParts): Buffer {
  const root = treeOf(asked)
  const pieces: Buffer[] = []
  // What is written since the last octets.
  let text = header
  let count = 0
  const write = (part: Part): void => {
    count += 1
    if ('octets' in part) {
      pieces.push(Buffer.from(`${text}${part.fields.join('')}\r\n`), part.octets)
      text = ''
      return
    }
    // Neither quoted-printable nor base64 can hold "=_" (RFC 2045 section 6.7); the number tells those of one message apart.
    const boundary = `=_-${asked.boundarySeed}-Part_${count}`
    text += `${multipartField(part.type, boundary)}\r\n`
    part.parts.forEach((child, i) => {
      text += `${i === 0 ? '' : '\r\n'}--${boundary}\r\n`
      write(child)
    })
    text += `\r\n--${boundary}--\r\n`
  }
  write(root)
  const isEnded = text !== '' || ('octets' in root && endsLine(root.octets))
  pieces.push(Buffer.from(isEnded ? text : '\r\n'))
  return Buffer.concat(pieces)
}

function treeOf({ text, html, attachments }: EntityParts): Part {
  const isShown = (file: ComposedAttachment) => html !== null && contentIdOf(file) !== null
  const bodies: Part[] = []
  // A lone inline attachment would be read as the text.
  if (text !== null || html === null) bodies.push(textPart('text/plain', text ?? ''))
  if (html !== null) {
    const files = attachments.filter(isShown).map(filePart)
    bodies.push(multipart('related; type="text/html"', [textPart('text/html', html), ...files]))
  }
  const attached = attachments.filter((file) => !isShown(file)).map(filePart)
  const root = multipart('mixed', [multipart('alternative', bodies), ...attached])
  // In a message of one part the type comes last.
  return 'fields' in root ? { ...root, fields: root.fields.toReversed() } : root
}

/** One part needs no multipart around it. */
function multipart(type: string, parts: Part[]): Part {
  return parts.length === 1 ? (parts[0] as Part) : { type, parts }
}

/** Line ends become CRLF. An empty text has no encoding. */
function textPart(type: string, text: string): Part {
  const { encoding, octets } = encodeText(text)
  const encodings = text === '' ? [] : [`Content-Transfer-Encoding: ${encoding}\r\n`]
  return { fields: [`Content-Type: ${type}; charset=utf-8\r\n`, ...encodings], octets }
}

function filePart(file: ComposedAttachment): Part {
  return { fields: attachmentFields(file), octets: encodeBase64(file.content) }
}

/** Folded when it would be longer than a line should be (RFC 5322 section 2.1.1). */
function multipartField(type: string, boundary: string): string {
  const start = `Content-Type: multipart/${type};`
  const parameter = ` boundary="${boundary}"`
  const isFolded = start.length + parameter.length >= 76
  return `${start}${isFolded ? '\r\n' : ''}${parameter}\r\n`
}

function endsLine(octets: Buffer): boolean {
  return octets.length === 0 || octets.at(-1) === 0x0a
}
