/**
 * A message that comes ready-made: checked, cleaned of what is not the sender's to say, and otherwise left alone.
 *
 * It is read once, before it is accepted (`checkRaw`), and written once, when it is known which message it is (`identifyRaw`): what
 * lies between them is a `CheckedRaw`, which nothing else makes.
 *
 * Removed are the fields that tell of earlier hops or hide recipients (Return-Path, Received, DKIM-Signature, Bcc,
 * Resent-Bcc); a Message-ID or Date that is missing or unusable is put in. Line ends become CRLF. Every other byte
 * stays. What two programs could read in two ways is refused, not repaired: bare CR, NUL, broken header lines, a second
 * From or Subject. The time taken grows with the length of the input.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { addressParser, decodeWords } from 'postal-mime'
import { type Parsed, parseAddress } from './address.ts'
import { type Mailbox, parseDisplayName } from './mailbox.ts'

/** Used when the message has none that is valid. */
export interface RawDefaults {
  /** With angle brackets. */
  messageId: string
  date: Date
}

/** Ready to be sent but for a Message-ID and a Date, where it has none of its own. */
export interface CheckedRaw {
  /** The header that is kept, each line with its CRLF. CRLF line ends only, no line over 998 octets. */
  readonly head: Buffer
  readonly body: Buffer
  /** The one address of the header From. */
  readonly from: Mailbox
  /** The one address of the header Sender, which readers show too; null when there is none. */
  readonly sender: Mailbox | null
  /** Decoded, for searching. */
  readonly subject: string
  /** Its own, with angle brackets; null where it is to be given one. */
  readonly messageId: string | null
  readonly hasDate: boolean
  /** Names of the header fields, in lower case. */
  readonly fieldNames: ReadonlySet<string>
  /** True when the header holds UTF-8, so that the message may only go to hosts with SMTPUTF8 (RFC 6532). */
  readonly needsSmtpUtf8: boolean
}

export interface RawMessage {
  /** Ready to be signed and sent. */
  bytes: Buffer
  /** With angle brackets. */
  messageId: string
}

/** One header field with its folded lines. */
interface Field {
  /** Lower case. */
  name: string
  /** Unfolded, without white space around it. */
  value: string
  /** As it stands, each line with its CRLF. */
  source: Buffer
}

/** RFC 5322 section 2.1.1, without the CRLF. */
const MAX_LINE_OCTETS = 998
/** Longer than any name and address: the library reads groups in a group anew, fifty deep. */
const maxAddressField = 10_000
/** Far above any real header; a bound on the number of fields. */
export const maxHeaderOctets = 1_048_576
export const headerTooLarge = `The header is larger than ${maxHeaderOctets} octets. Put an empty line between header and body.`
const CR = 0x0d
const LF = 0x0a
const CRLF = Buffer.from('\r\n')
const REMOVED = new Set(['return-path', 'received', 'dkim-signature', 'bcc', 'resent-bcc'])
/** RFC 5322 section 3.6 and RFC 2045 allow each of these once; readers differ in which of two they take. */
const ONCE = [
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'subject', 'in-reply-to', 'references'],
  ...['mime-version', 'content-type', 'content-transfer-encoding', 'content-disposition'],
]
const FIELD_NAME = /^[!-9;-~]+$/
/** RFC 5322 section 3.6.4 without its obsolete forms: no space, quotes or second "<"; 250 octets at most. */
const MESSAGE_ID = /^<[!#-;=?A-Z^-~]{1,124}@[!#-;=?A-Z^-~[\]]{1,124}>$/
const DATE =
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), *)?\d{1,2} +(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{4} +\d{2}:\d{2}(?::\d{2})? +(?:[+-]\d{4}|GMT|UT|UTC|[ECMP][SD]T)(?: *\([^()]{0,60}\))?$/i

/**
 * Checks and cleans a ready-made message.
 *
 * @param input RFC 5322 text, with CRLF or LF line ends
 * @param identity `dropped`: without what makes it this one mail, Message-ID and Date, so that it becomes another
 * @returns the message to identify, or a sentence that names the fault (with its line) and the remedy
 */
export function checkRaw(input: Buffer, identity: 'kept' | 'dropped' = 'kept'): Parsed<CheckedRaw> {
  const text = normaliseLineEnds(input)
  if (!text.ok) return text
  const { head, body } = splitAtBlankLine(text.value)
  const header = readHeader(head)
  if (!header.ok) return header
  const kept = header.value.filter((field) => !REMOVED.has(field.name))
  const twice = ONCE.find((name) => kept.filter((field) => field.name === name).length > 1)
  if (twice !== undefined) return refuse(`The header field "${twice}" occurs more than once. Leave only one.`)

  const from = readSingleMailbox(kept, 'from')
  if (!from.ok) return from
  if (from.value === null) return refuse('The message has no From field. Add one with one address.')
  const sender = readSingleMailbox(kept, 'sender')
  if (!sender.ok) return sender

  const { fields, messageId, hasDate } = findIdentity(kept, identity)
  return {
    ok: true,
    value: {
      head: Buffer.concat(fields.map((field) => field.source)),
      body,
      from: from.value,
      sender: sender.value,
      subject: decodeWords(kept.find((field) => field.name === 'subject')?.value ?? ''),
      messageId,
      hasDate,
      fieldNames: new Set(fields.map((field) => field.name)),
      needsSmtpUtf8: kept.some((field) => field.source.some((octet) => octet > 0x7f)),
    },
  }
}

/**
 * The message as it is sent: with the identity that is its own, else with that of `defaults` below its other fields.
 *
 * @param ahead fields that stand before all others, as they are, each with its CRLF
 */
export function identifyRaw(
  { head, body, messageId, hasDate }: CheckedRaw,
  defaults: RawDefaults,
  ahead: Buffer = Buffer.alloc(0),
): RawMessage {
  const added = [
    ...(messageId === null ? [Buffer.from(`Message-ID: ${defaults.messageId}\r\n`)] : []),
    ...(hasDate ? [] : [datedField(defaults.date)]),
  ]
  return {
    bytes: Buffer.concat([ahead, head, ...added, CRLF, body]),
    messageId: messageId ?? defaults.messageId,
  }
}

/** The length of the message before it is identified, octets. */
export function checkedSizeBytes({ head, body }: CheckedRaw): number {
  return head.length + CRLF.length + body.length
}

/** Octet by octet, without an object for each line: a message may be 40 MiB of line ends. */
function normaliseLineEnds(input: Buffer): Parsed<Buffer> {
  const { length } = input
  if (length === 0) return refuse('The message is empty. Give the whole message, header and body.')
  let line = 1
  let lineStart = 0
  let loneFeeds = 0
  for (let i = 0; i < length; i++) {
    const octet = input[i]!
    if (octet > CR) continue
    if (octet === 0) return refuse(`Line ${line} holds a NUL octet. Encode binary parts in base64.`)
    if (octet === CR && (i + 1 === length || input[i + 1] !== LF)) {
      return refuse(`Line ${line} holds a CR that no LF follows. End every line with CRLF, or with LF.`)
    }
    if (octet !== LF) continue
    const isLone = i === 0 || input[i - 1] !== CR
    const octets = (isLone ? i : i - 1) - lineStart
    if (octets > MAX_LINE_OCTETS) return refuse(lineTooLong(line, octets))
    if (isLone) loneFeeds++
    line++
    lineStart = i + 1
  }
  if (length - lineStart > MAX_LINE_OCTETS) return refuse(lineTooLong(line, length - lineStart))
  return { ok: true, value: loneFeeds === 0 ? input : withCarriageReturns(input, loneFeeds) }
}

function withCarriageReturns(input: Buffer, loneFeeds: number): Buffer {
  const output = Buffer.allocUnsafe(input.length + loneFeeds)
  let end = 0
  let previous = 0
  for (let i = 0; i < input.length; i++) {
    const octet = input[i]!
    if (octet === LF && previous !== CR) output[end++] = CR
    output[end++] = octet
    previous = octet
  }
  return output
}

function lineTooLong(line: number, length: number): string {
  return `Line ${line} is ${length} octets long; at most ${MAX_LINE_OCTETS} are allowed (RFC 5322). Encode the part in quoted-printable or base64.`
}

/** @returns the header with the CRLF of its last line, and what follows the blank line */
function splitAtBlankLine(text: Buffer): { head: Buffer; body: Buffer } {
  if (text[0] === CR) return { head: text.subarray(0, 0), body: text.subarray(2) }
  const blank = text.indexOf('\r\n\r\n')
  if (blank >= 0) return { head: text.subarray(0, blank + 2), body: text.subarray(blank + 4) }
  const isEnded = text.at(-1) === LF
  return { head: isEnded ? text : Buffer.concat([text, CRLF]), body: text.subarray(text.length) }
}

/** @param head lines with their CRLF */
function readHeader(head: Buffer): Parsed<Field[]> {
  if (head.length === 0)
    return refuse('The message begins with an empty line, so it has no header. Put the header first.')
  if (head.length > maxHeaderOctets) return refuse(headerTooLarge)
  const groups: Buffer[][] = []
  for (let start = 0, index = 0; start < head.length; index++) {
    const end = head.indexOf(CRLF, start)
    const line = head.subarray(start, end)
    const isFolded = line[0] === 0x20 || line[0] === 0x09
    const fault = isFolded ? findFoldFault(line, index) : findFieldFault(line, index)
    if (fault !== null) return refuse(fault)
    if (isFolded) groups.at(-1)?.push(line)
    else groups.push([line])
    start = end + 2
  }
  const header = groups.map(toField)
  if (!header.every((field) => isUtf8(field.source))) {
    return refuse(
      'The header holds octets that are not UTF-8. Encode the text in it by RFC 2047, or as UTF-8.',
    )
  }
  return { ok: true, value: header }
}

/** A continuation of spaces alone (obs-FWS) reads as the end of the header to some programs. */
function findFoldFault(line: Buffer, index: number): string | null {
  if (index === 0) return 'The first line begins with white space. Begin the message with a header field.'
  return line.every((octet) => octet === 0x20 || octet === 0x09)
    ? `Header line ${index + 1} holds only white space. Remove it, or leave it empty to end the header.`
    : null
}

function findFieldFault(line: Buffer, index: number): string | null {
  if (index === 0 && line.toString('latin1', 0, 5) === 'From ') {
    return 'The first line is the "From " line of an mbox file. Remove it.'
  }
  const colon = line.indexOf(0x3a)
  if (colon > 0 && FIELD_NAME.test(line.toString('latin1', 0, colon))) return null
  return `Header line ${index + 1} is not of the form "Name: value". Correct it, or put an empty line before the body.`
}

function toField(lines: Buffer[]): Field {
  const text = Buffer.concat(lines).toString()
  const colon = text.indexOf(':')
  return {
    name: text.slice(0, colon).toLowerCase(),
    value: text.slice(colon + 1).trim(),
    source: Buffer.concat(lines.flatMap((line) => [line, CRLF])),
  }
}

/** Exactly one address, in a form that leaves nobody in doubt which: `a@b` or `name <a@b>`, with comments around it. */
function readSingleMailbox(fields: Field[], name: 'from' | 'sender'): Parsed<Mailbox | null> {
  const field = fields.find((candidate) => candidate.name === name)
  if (field === undefined) return { ok: true, value: null }
  const title = name === 'from' ? 'From' : 'Sender'
  const entries = field.value.length > maxAddressField ? [] : addressParser(field.value)
  const [entry] = entries
  if (entries.length !== 1 || entry?.address === undefined || !standsPlainly(entry.address, field.value)) {
    return refuse(`The ${title} field must hold exactly one address, as in "Ann" <ann@example.com>.`)
  }
  const address = parseAddress(entry.address)
  if (!address.ok) return refuse(`The ${title} field: ${address.message}`)
  const displayName = parseDisplayName(entry.name)
  if (!displayName.ok) return refuse(`The ${title} field: ${displayName.message}`)
  return { ok: true, value: { name: displayName.value, address: address.value } }
}

/**
 * Whether every reader finds this address in the field, and no other. The library mends what is broken and decodes
 * encoded words, as readers do, but not all of them in the same way. So beside the address there may only be a comment,
 * or before angle brackets a phrase of atoms and quoted strings (RFC 5322 section 3.4).
 */
function standsPlainly(address: string, value: string): boolean {
  const bare = withoutQuotesAndComments(value)
  if (bare === null || address.endsWith('.')) return false
  if (!bare.includes('<')) return bare.trim() === address && value.includes(address) && !value.includes('"')
  const bracketed = `<${address}>`
  const phrase = bare.trimEnd().slice(0, -bracketed.length)
  return value.includes(bracketed) && bare.trimEnd().endsWith(bracketed) && !/[@<>,;:\\[\]]/.test(phrase)
}

/** @returns null when a quote or a parenthesis is left open (RFC 5322 section 3.2.2: comments nest) */
function withoutQuotesAndComments(value: string): string | null {
  let bare = ''
  let depth = 0
  let isQuoted = false
  for (let i = 0; i < value.length; i++) {
    const char = value.charAt(i)
    if (char === '\\' && (isQuoted || depth > 0)) i++
    else if (char === '"' && depth === 0) isQuoted = !isQuoted
    else if (isQuoted) continue
    else if (char === '(') depth++
    else if (char === ')') {
      if (depth-- === 0) return null
    } else if (depth === 0) bare += char
  }
  return isQuoted || depth > 0 ? null : bare
}

/** Keeps the first valid Message-ID and Date in their places and drops the others of that name, or all of them. */
function findIdentity(
  fields: Field[],
  identity: 'kept' | 'dropped',
): { fields: Field[]; messageId: string | null; hasDate: boolean } {
  const candidates = identity === 'kept' ? fields : []
  const idField = candidates.find((field) => field.name === 'message-id' && MESSAGE_ID.test(field.value))
  const dateField = candidates.find((field) => field.name === 'date' && isDate(field.value))
  const kept = fields.filter((field) => {
    if (field.name === 'message-id') return field === idField
    return field.name === 'date' ? field === dateField : true
  })
  return { fields: kept, messageId: idField?.value ?? null, hasDate: dateField !== undefined }
}

/** As it is put in where a message has none. */
const datedField = (date: Date): Buffer =>
  Buffer.from(`Date: ${date.toUTCString().replace('GMT', '+0000')}\r\n`)

/**
 * An identified message with another date, where the one that it has was put in by `identifyRaw`: as its last field.
 *
 * @param from the dates that it may have been put in with
 * @returns null when the date is its sender's own
 */
export function redateRaw(identified: Buffer, from: readonly Date[], to: Date): Buffer | null {
  const { head, body } = splitAtBlankLine(identified)
  for (const date of from) {
    const own = datedField(date)
    const at = head.length - own.length
    if (at < 0 || !head.subarray(at).equals(own) || (at > 0 && head[at - 1] !== LF)) continue
    return Buffer.concat([head.subarray(0, at), datedField(to), CRLF, body])
  }
  return null
}

/** RFC 5322 section 3.3, with four-digit years and from 1970 on only. */
function isDate(value: string): boolean {
  return value.length <= 120 && DATE.test(value) && new Date(value).getTime() >= 0
}

function refuse(message: string): { ok: false; message: string } {
  return { ok: false, message }
}
