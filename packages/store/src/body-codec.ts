/**
 * What a message's body looks like in the table `bodies`: everything that composing it needs, as one compressed blob,
 * written once at accept and read by the worker (DESIGN 4.7).
 *
 * Layout: version (1 octet) · length of the head (4, big endian) · head: JSON, zstd · the attachments' octets, one after
 * the other, as they are (most formats are compressed already); or, for a raw mail, its octets, zstd.
 *
 * Texts that stood behind the head as they are, with nothing in them escaped, would take 15 µs less of 72 to write and 23 less of 58 to read (a
 * receipt of 10 KB, cold caches). But workers of the version before read what this one accepts, and going back is promised too (docs/operations.md,
 * Upgrades): another layout has to be read for a version before anybody writes it. Other ways to pack it than zstd's level 1 win nothing there: of 31 µs its
 * level -2 saves 5, for a fifth more octets, LZ4 none for two fifths more.
 */
import type { Composition } from '@valija/mail'
import { compress, decompress, decompressText } from './zstd-frames.ts'

interface Personal {
  /** Each recipient's mail gets a link that begins so; absent: all get the same mail. */
  unsubscribeBase?: string
}

/** A mail that is composed from fields by the worker. */
export interface FieldsBody extends Personal {
  kind: 'fields'
  composition: Composition
}

/** A mail that came as RFC 5322 text; what must not leave has been removed from it already. */
export interface RawBody extends Personal {
  kind: 'raw'
  bytes: Buffer
  /** Its header holds UTF-8 (RFC 6532). */
  needsSmtpUtf8: boolean
}

export type StoredBody = FieldsBody | RawBody

const version = 1
const prefixLength = 5

interface FieldsHead extends Personal {
  kind: 'fields'
  attachments: {
    filename: string
    contentType: string | null
    contentId: string | null
    disposition: 'attachment' | 'inline' | null
    length: number
  }[]
  composition: Omit<Composition, 'attachments' | 'date'> & { date: string }
}

type Head = FieldsHead | (Personal & { kind: 'raw'; needsSmtpUtf8: boolean })

export function encodeBody(body: StoredBody): Buffer {
  const personal = body.unsubscribeBase === undefined ? {} : { unsubscribeBase: body.unsubscribeBase }
  if (body.kind === 'raw') {
    const { needsSmtpUtf8 } = body
    const head: Head = { kind: 'raw', needsSmtpUtf8, ...personal }
    return join(Buffer.from(JSON.stringify(head)), [compress(body.bytes)])
  }
  const { attachments, date, text, html, ...rest } = body.composition
  const head: Omit<FieldsHead, 'composition'> & { composition: object } = {
    kind: 'fields',
    ...personal,
    attachments: attachments.map(({ content, ...attachment }) => ({ ...attachment, length: content.length })),
    // Last, so that the two texts can be put behind its other fields.
    composition: { ...rest, date: date.toISOString() },
  }
  return join(
    withTexts(JSON.stringify(head), text, html),
    attachments.map((attachment) => attachment.content),
  )
}

/**
 * Room for the head of a usual mail, and for one of its texts; what stands in it after a call means nothing. Octets that were had anew for each took
 * 4 of 11 µs for a receipt of 10 KB, and the garbage collector's time.
 */
const headRoom = Buffer.allocUnsafeSlow(128 * 1024)
const textRoom = Buffer.allocUnsafeSlow(128 * 1024)

/**
 * A head with its two long fields, in UTF-8. V8 escapes a text of single octets in a quarter of the time that one with a euro sign in it
 * takes, and what JSON escapes is ASCII: so what it is given are the octets of the UTF-8, as if each were a character.
 *
 * @param head ends with the object that they belong into, and is not empty
 * @returns octets that are valid until the next call
 */
function withTexts(head: string, text: string | null, html: string | null): Buffer {
  const open = head.slice(0, -2)
  const texts = [',"text":', toJsonOctets(text), ',"html":', toJsonOctets(html), '}}']
  const length = texts.reduce((sum, part) => sum + part.length, Buffer.byteLength(open))
  const bytes = length <= headRoom.length ? headRoom.subarray(0, length) : Buffer.allocUnsafe(length)
  let at = bytes.write(open)
  for (const part of texts) at += bytes.write(part, at, 'latin1')
  return bytes
}

const maxBytesPerUnit = 3

/** JSON in UTF-8, a character for each octet. */
function toJsonOctets(text: string | null): string {
  if (text === null) return 'null'
  if (text.length * maxBytesPerUnit > textRoom.length)
    return JSON.stringify(Buffer.from(text).toString('latin1'))
  return JSON.stringify(textRoom.toString('latin1', 0, textRoom.write(text)))
}

/** @throws {Error} for a blob of another version or one that was damaged */
export function decodeBody(blob: Buffer): StoredBody {
  if (blob[0] !== version) throw new Error(`a stored body of version ${blob[0]} is not known`)
  const headEnd = prefixLength + blob.readUInt32BE(1)
  const head = JSON.parse(decompressText(blob.subarray(prefixLength, headEnd))) as Head
  if (head.kind === 'raw') {
    return { ...head, bytes: decompress(blob.subarray(headEnd)) }
  }
  let offset = headEnd
  const { composition, attachments: listed, ...rest } = head
  const attachments = listed.map(({ length, ...attachment }) => {
    const content = blob.subarray(offset, offset + length)
    offset += length
    return { ...attachment, content }
  })
  return {
    ...rest,
    composition: { ...composition, date: new Date(composition.date), attachments },
  }
}

function join(head: Buffer, parts: Buffer[]): Buffer {
  const packed = compress(head)
  const prefix = Buffer.alloc(prefixLength)
  prefix[0] = version
  prefix.writeUInt32BE(packed.length, 1)
  return Buffer.concat([prefix, packed, ...parts])
}
