/**
 * What a message's body looks like in the table `bodies`: everything that composing it needs, as one compressed blob,
 * written once at accept and read by the worker (DESIGN 4.7).
 *
 * Layout: version (1 octet) · length of the head (4, big endian) · head: JSON, zstd · the attachments' octets, one after
 * the other, as they are (most formats are compressed already); or, for a raw mail, its octets, zstd.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
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
  composition: Omit<Composition, 'attachments' | 'date'> & { date: string }
  attachments: {
    filename: string
    contentType: string | null
    contentId: string | null
    disposition: 'attachment' | 'inline' | null
    length: number
  }[]
}

type Head = FieldsHead | (Personal & { kind: 'raw'; needsSmtpUtf8: boolean })

export function encodeBody(body: StoredBody): Buffer {
  const personal = body.unsubscribeBase === undefined ? {} : { unsubscribeBase: body.unsubscribeBase }
  if (body.kind === 'raw') {
    const { needsSmtpUtf8 } = body
    return join({ kind: 'raw', needsSmtpUtf8, ...personal }, [zstdCompressSync(body.bytes)])
  }
  const { attachments, date, ...rest } = body.composition
  const head: FieldsHead = {
    kind: 'fields',
    ...personal,
    composition: { ...rest, date: date.toISOString() },
    attachments: attachments.map(({ content, ...attachment }) => ({ ...attachment, length: content.length })),
  }
  return join(
    head,
    attachments.map((attachment) => attachment.content),
  )
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

function join(head: Head, parts: Buffer[]): Buffer {
  const packed = zstdCompressSync(JSON.stringify(head))
  const prefix = Buffer.alloc(prefixLength)
  prefix[0] = version
  prefix.writeUInt32BE(packed.length, 1)
  return Buffer.concat([prefix, packed, ...parts])
}
