/**
 * What a message's body looks like in the table `bodies`: everything that composing it needs, as one compressed blob,
 * written once at accept and read by the worker (DESIGN 4.7).
 *
 * Layout: version (1 octet) · length of the head (4, big endian) · head: JSON, zstd · the attachments' octets, one after
 * the other, as they are (most formats are compressed already); or, for a raw mail, its octets, zstd.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Composition } from '@valija/mail'

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
 * A head with its two long fields, in UTF-8. V8 escapes a text of single octets in a quarter of the time that one with a euro sign in it
 * takes, and what JSON escapes is ASCII: so what it is given are the octets of the UTF-8, as if each were a character.
 *
 * @param head ends with the object that they belong into, and is not empty
 */
function withTexts(head: string, text: string | null, html: string | null): Buffer {
  const texts = `,"text":${toJsonOctets(text)},"html":${toJsonOctets(html)}}}`
  const open = head.slice(0, -2)
  const bytes = Buffer.allocUnsafe(Buffer.byteLength(open) + texts.length)
  bytes.write(texts, bytes.write(open), 'latin1')
  return bytes
}

/** JSON in UTF-8, a character for each octet. */
function toJsonOctets(text: string | null): string {
  return text === null ? 'null' : JSON.stringify(Buffer.from(text).toString('latin1'))
}

/** @throws {Error} for a blob of another version or one that was damaged */
export function decodeBody(blob: Buffer): StoredBody {
  if (blob[0] !== version) throw new Error(`a stored body of version ${blob[0]} is not known`)
  const headEnd = prefixLength + blob.readUInt32BE(1)
  const head = JSON.parse(zstdDecompressSync(blob.subarray(prefixLength, headEnd)).toString()) as Head
  if (head.kind === 'raw') {
    return { ...head, bytes: zstdDecompressSync(blob.subarray(headEnd)) }
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

/** Level 1: the usual level takes a third more time, half as much again on a busy machine, for a blob that is a twentieth smaller. */
const level = { [constants.ZSTD_c_compressionLevel]: 1 }
const smallBytes = 16 * 1024
/** Of what most mails are: the table of repetitions, which is cleared for each, fits into the cache, and a chunk holds the answer. */
const small = { params: { ...level, [constants.ZSTD_c_hashLog]: 12 }, chunkSize: 8 * 1024 }
const large = { params: level, chunkSize: 64 * 1024 }

function compress(bytes: Buffer): Buffer {
  return zstdCompressSync(bytes, {
    ...(bytes.length <= smallBytes ? small : large),
    pledgedSrcSize: bytes.length,
  })
}
