/**
 * Takes one person's address out of a mail that went to others as well: out of its header with the name before it, and out of its texts where it
 * stands as it is written. What is encoded or attached is not looked into.
 */
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

/** Of an RFC 5322 text, octet by octet: whatever is not the address stays as it is. */
export function redactRaw(raw: Buffer, eraser: AddressEraser): Buffer {
  const octets = Buffer.from(eraser.emailKey).toString('latin1')
  const { text } = createAddressEraser(octets, eraser.placeholder)
  const end = raw.indexOf('\r\n\r\n')
  const header = end < 0 ? raw : raw.subarray(0, end)
  const rest = end < 0 ? '' : raw.toString('latin1', end)
  return Buffer.from(withoutNames(text(header.toString('latin1')), eraser.placeholder) + text(rest), 'latin1')
}

/** A name is not longer than this, folded lines included (display names have 256 characters at most, encoded they are longer). */
const longestName = 2_000

/** Takes away the names before the placeholder in angle brackets: `Ann <erased-…>` becomes `<erased-…>`. */
export function withoutNames(header: string, placeholder: string): string {
  const mark = `<${placeholder}>`
  let result = ''
  let from = 0
  for (let at = header.indexOf(mark); at >= 0; at = header.indexOf(mark, from)) {
    const before = header.slice(Math.max(from, at - longestName), at)
    const name = /(?:"(?:[^"\\]|\\[\s\S])*"|[^",:;<>"])*$/.exec(before)?.[0] ?? ''
    // The white space before it stays: it may be what folds the line.
    const kept = /^\s*/.exec(name)?.[0] ?? ''
    result += `${header.slice(from, at - name.length)}${kept}${mark}`
    from = at + mark.length
  }
  return result + header.slice(from)
}
