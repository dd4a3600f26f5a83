/**
 * A mail from anybody, taken apart within bounds: the MIME library does the work, this file sees to it that no mail costs much.
 *
 * The library keeps an object for each line and each part, so their number is limited before it starts; what lies beyond is cut
 * off. In a bounce that is the returned mail's body, which nobody reads.
 */
import { Buffer } from 'node:buffer'
import { decodeWords } from 'postal-mime'
import { type MimeMail, parseMime } from '../parse-mime.ts'
import { textOfHtml } from './text-of-html.ts'

export interface Field {
  /** Lower case. */
  name: string
  /** Unfolded, encoded words decoded. */
  value: string
}

export interface MailPart {
  /** Lower case, without parameters. */
  type: string
  filename: string | null
  content: Buffer
}

export interface MailParts {
  fields: readonly Field[]
  /** The first field of that name, lower case; null when there is none. */
  field(name: string): string | null
  /** The texts that a reader would be shown, in order, with LF. */
  text: string
  /** All parts that are not shown, in order. */
  parts: readonly MailPart[]
  /** All that follows the header, as it stands, with LF, at most 256 KiB of it. */
  body: string
}

/** What is read of a mail unless more is asked for. Reports of failure stand before the mail that they return. */
export const USUAL_OCTETS = 1_048_576
/** 1 MiB of base64 has 14,000 lines. The library takes seconds for mails of many more lines that are empty. */
const LINES_PER_MEBIBYTE = 16_000
/** Lines that begin with "--", each of which may begin a part. */
const MAX_BOUNDARY_LINES = 2_000
const MAX_BODY_TEXT = 262_144
const limits = { maxNestingDepth: 32, maxHeadersSize: 524_288 }
const LF = 0x0a
const CR = 0x0d
const HYPHEN = 0x2d

/** @param maxOctets how much of it is looked at */
export async function takeApart(raw: Buffer, maxOctets = USUAL_OCTETS): Promise<MailParts> {
  const bounded = boundMail(raw, maxOctets)
  const body = textOf(bounded.subarray(bodyStart(bounded)).subarray(0, MAX_BODY_TEXT))
  const mail = await parse(bounded)
  const fields = (mail?.headers ?? []).map(({ key, value }) => ({ name: key, value: decodeWords(value) }))
  return {
    fields,
    field: (name) => fields.find((field) => field.name === name)?.value ?? null,
    text: shownText(mail),
    parts: (mail?.attachments ?? []).map(({ mimeType, filename, content }) => ({
      type: mimeType,
      filename,
      content: typeof content === 'string' ? Buffer.from(content) : Buffer.from(content as ArrayBuffer),
    })),
    body,
  }
}

/** The header of a returned mail, or of anything else that begins with fields. Empty when it does not. */
export async function readFields(source: Buffer | string): Promise<Field[]> {
  const octets = typeof source === 'string' ? Buffer.from(source) : source
  const end = headerEnd(octets)
  const mail = await parse(boundMail(octets.subarray(0, end), limits.maxHeadersSize))
  return (mail?.headers ?? []).map(({ key, value }) => ({ name: key, value: decodeWords(value) }))
}

/** UTF-8, or Latin-1 where it is not that; with LF. */
export function textOf(octets: Buffer): string {
  const utf8 = octets.toString('utf8')
  const text = utf8.includes('\u{FFFD}') ? octets.toString('latin1') : utf8
  return text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')
}

/** The library gives up on mails beyond its limits; what stands in their body is read all the same. */
async function parse(octets: Buffer): Promise<MimeMail | null> {
  try {
    return await parseMime(octets, limits)
  } catch {
    return null
  }
}

function shownText(mail: MimeMail | null): string {
  if (mail === null) return ''
  const text = mail.text ?? (mail.html === undefined ? '' : textOfHtml(mail.html))
  return text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')
}

/** Cuts off what is beyond the octets, lines and boundaries that we look at. */
function boundMail(raw: Buffer, maxOctets: number): Buffer {
  const length = Math.min(raw.length, maxOctets)
  const maxLines = LINES_PER_MEBIBYTE * Math.ceil(maxOctets / USUAL_OCTETS)
  let lines = 0
  let boundaryLines = 0
  for (let at = 0; at < length; ) {
    if (raw[at] === HYPHEN && raw[at + 1] === HYPHEN) boundaryLines++
    if (++lines > maxLines || boundaryLines > MAX_BOUNDARY_LINES) return raw.subarray(0, at)
    const end = raw.indexOf(LF, at)
    if (end < 0) break
    at = end + 1
  }
  return raw.subarray(0, length)
}

function bodyStart(mail: Buffer): number {
  const end = headerEnd(mail)
  return mail[end] === CR ? end + 2 : Math.min(end + 1, mail.length)
}

/** Where the empty line begins that ends the header; the end when there is none. */
function headerEnd(mail: Buffer): number {
  for (let at = 0; at < mail.length; ) {
    if (mail[at] === LF || (mail[at] === CR && mail[at + 1] === LF)) return at
    const end = mail.indexOf(LF, at)
    if (end < 0) break
    at = end + 1
  }
  return mail.length
}
