/**
 * A mail taken apart by the MIME library, without its reading of addresses, which is of no use here: it reads the groups in a group anew, fifty
 * deep, so that a header of 300,000 octets from anybody took 0.9 s of processor time, and of half a megabyte nearly two.
 *
 * The library knows the fields by their names, so each but Content-* gets a mark in front of its name before, and loses it after. A mail
 * within the mail is a part like any other, an attachment: the library would read its fields as well, and there may be thousands of such.
 */
import { Buffer } from 'node:buffer'
import PostalMime, { type Email, type Header, type PostalMimeOptions } from 'postal-mime'

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const TAB = 0x09
const MARK = Buffer.from('=')
const CONTENT_FIELD = /^[ \t]*content-/i

/** What the library tells of it, but for addresses, subject, dates and ids, which are in `headers`. */
export type MimeMail = Pick<Email, 'headers' | 'text' | 'html' | 'attachments'>

/** The library's own. */
const usualHeadersSize = 2 * 1024 * 1024

/** @throws what the library throws, for a mail beyond the limits */
export async function parseMime(
  raw: Buffer,
  limits: Pick<PostalMimeOptions, 'maxNestingDepth' | 'maxHeadersSize'> = {},
): Promise<MimeMail> {
  const marked = markFields(raw)
  const { headers, text, html, attachments } = await PostalMime.parse(marked, {
    ...limits,
    // The marks are none of the header's octets.
    maxHeadersSize: (limits.maxHeadersSize ?? usualHeadersSize) + marked.length - raw.length,
    forceRfc822Attachments: true,
  })
  const mail: MimeMail = { headers: headers.map(unmarked), attachments }
  if (text !== undefined) mail.text = text
  if (html !== undefined) mail.html = html
  return mail
}

function markFields(mail: Buffer): Buffer {
  const pieces: Buffer[] = []
  let taken = 0
  for (let at = 0; at < mail.length; ) {
    if (mail[at] === LF || (mail[at] === CR && mail[at + 1] === LF)) break
    // A first line that looks folded is a field to the library.
    const isFolded = at > 0 && (mail[at] === SPACE || mail[at] === TAB)
    if (!isFolded && !CONTENT_FIELD.test(mail.toString('latin1', at, at + 32))) {
      pieces.push(mail.subarray(taken, at), MARK)
      taken = at
    }
    const end = mail.indexOf(LF, at)
    if (end < 0) break
    at = end + 1
  }
  pieces.push(mail.subarray(taken))
  return Buffer.concat(pieces)
}

function unmarked({ key, originalKey, value }: Header): Header {
  if (!key.startsWith('=')) return { key, originalKey, value }
  return { key: key.slice(1).trimStart(), originalKey: originalKey.slice(1).trimStart(), value }
}
