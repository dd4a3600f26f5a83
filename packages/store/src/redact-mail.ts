/**
 * Takes one person's address out of a mail that went to others as well: out of its header with the name before it, and out of its texts where it
 * stands as it is written. What is encoded or attached is not looked into.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import type { AddressEraser } from '@valija/core'
import { createAddressEraser } from '@valija/core'
import type { Mailbox } from '@valija/mail'
import { decodeBody, encodeBody, type FieldsBody } from './body-codec.ts'

/** @param content a blob of `encodeBody` */
export function redactBody(content: Buffer, eraser: AddressEraser): Buffer {
  const body = decodeBody(content)
  if (body.kind === 'raw') return encodeBody({ ...body, bytes: redactRaw(body.bytes, eraser) })
  return encodeBody({ ...body, composition: redactComposition(body.composition, eraser) })
}

type Composition = FieldsBody['composition']

function redactComposition(composition: Composition, eraser: AddressEraser): Composition {
  const [local = '', domain = ''] = eraser.placeholder.split('@')
  const nobody: Mailbox = {
    name: null,
    address: { local, domain, email: eraser.placeholder, key: local, needsSmtpUtf8: false },
  }
  const mailboxes = (given: Mailbox[]) =>
    given.map((mailbox) =>
      `${mailbox.address.key}@${mailbox.address.domain}` === eraser.emailKey ? nobody : mailbox,
    )
  const textOrNull = (text: string | null) => text && eraser.text(text)
  return {
    ...composition,
    replyTo: mailboxes(composition.replyTo),
    to: mailboxes(composition.to),
    cc: mailboxes(composition.cc),
    subject: eraser.text(composition.subject),
    text: textOrNull(composition.text),
    html: textOrNull(composition.html),
    headers: composition.headers.map(([name, value]) => [name, eraser.text(value)]),
    attachments: composition.attachments.map((attachment) => ({
      ...attachment,
      filename: eraser.text(attachment.filename),
    })),
  }
}

/** Of an RFC 5322 text: whatever is not the address stays as it is, octet by octet. */
export function redactRaw(raw: Buffer, eraser: AddressEraser): Buffer {
  const end = raw.indexOf('\r\n\r\n')
  const headerEnd = end < 0 ? raw.length : end
  return Buffer.concat([
    redactOctets(raw.subarray(0, headerEnd), eraser, (header) => withoutNames(header, eraser.placeholder)),
    redactOctets(raw.subarray(headerEnd), eraser),
  ])
}

/** @param further what is done besides, to text or to what may be read as latin1 */
function redactOctets(
  octets: Buffer,
  eraser: AddressEraser,
  further: (text: string) => string = (text) => text,
): Buffer {
  const [encoding, { text }] = isUtf8(octets)
    ? (['utf8', eraser] as const)
    : (['latin1', createAddressEraser(eraser.emailKey, eraser.placeholder, { isOctets: true })] as const)
  return Buffer.from(further(text(octets.toString(encoding))), encoding)
}

/** Takes away the names before the placeholder in angle brackets: `Ann <erased-…>` becomes `<erased-…>`. */
function withoutNames(header: string, placeholder: string): string {
  const mark = `<${placeholder}>`
  let result = ''
  let from = 0
  for (let at = header.indexOf(mark); at >= 0; at = header.indexOf(mark, from)) {
    let nameAt = beginOfName(header, from, at)
    // The white space before it stays: it may be what folds the line.
    while (nameAt < at && isSpace(header[nameAt])) nameAt += 1
    result += header.slice(from, nameAt) + mark
    from = at + mark.length
  }
  return result + header.slice(from)
}

const isSpace = (character: string | undefined) =>
  character === ' ' || character === '\t' || character === '\r' || character === '\n'

/**
 * Where the name begins that ends at `at`: words and quoted strings, back to what parts mailboxes or to the line's beginning. Whoever sends decides
 * how long that is, so each character is looked at once or twice (a regular expression took seconds for a megabyte).
 */
function beginOfName(header: string, from: number, at: number): number {
  let begin = at
  let hasQuotes = true
  while (begin > from && !isBreak(header, begin - 1) && !',:;<>'.includes(header[begin - 1] ?? '')) {
    begin -= 1
    if (header[begin] !== '"' || !hasQuotes) continue
    const opening = openingQuote(header, from, begin)
    hasQuotes = opening >= 0
    if (hasQuotes) begin = opening
  }
  return begin
}

/** @returns where the quoted string begins that ends at `closing`, -1 if it does not */
function openingQuote(header: string, from: number, closing: number): number {
  for (let at = closing - 1; at >= from && !isBreak(header, at); at -= 1) {
    if (header[at] !== '"') continue
    let escapes = at
    while (escapes > from && header[escapes - 1] === '\\') escapes -= 1
    if ((at - escapes) % 2 === 0) return at
  }
  return -1
}

/** A line's end that does not fold. */
const isBreak = (header: string, at: number) =>
  header[at] === '\n' && header[at + 1] !== ' ' && header[at + 1] !== '\t'
