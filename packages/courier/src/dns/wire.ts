/**
 * Questions and replies of the DNS as octets (RFC 1035 §4), on dns-packet: what is asked, whether a reply belongs to the question,
 * and what it says. Nothing that arrives makes it throw, and the worst reply that
 * can be built takes 65 ms to read.
 */
import { isIP } from 'node:net'
import dnsPacket, { type Answer, type DecodedPacket, decode, encode, type OptAnswer } from 'dns-packet'
import type { DnsRecords, DnsType } from './dns-answer.ts'

export interface Question {
  /** As `dnsName` gives it. */
  name: string
  type: DnsType
}

export interface Query extends Question {
  id: number
  bytes: Buffer
}

export interface Reply {
  rcode: number
  isTruncated: boolean
  /** AD (RFC 4035 §3.2.3). */
  isAuthenticated: boolean
  /** The server neither recurses for us nor owns the name: an empty answer is a referral, and says nothing. */
  isReferral: boolean
  answers: Answer[]
  /** How long a negative answer holds, in seconds (RFC 2308 §5); null without SOA. */
  negativeTtl: number | null
  /** Extended error (RFC 8914 §4), null for none. */
  extendedError: number | null
  sizeBytes: number
}

/** `foreign`: not the answer to this question, so the true one may still come. `nonsense`: it claims to be, and cannot be read. */
export type Reading = Reply | 'foreign' | 'nonsense'

export const RCODE = { noError: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5 } as const

/** Fits every path without fragments (dnsflagday.net/2020). */
export const UDP_SIZE = 1232

/** More than any answer about mail needs (500 exchangers have 20 KB); bounds what reading one costs. */
export const MAX_REPLY_BYTES = 32_768

/** A record has at least a root name of one octet and ten octets of fixed fields. */
const MIN_RECORD_BYTES = 11
const HEADER_BYTES = 12

/** RFC 1035 §2.3.4, as text without the final dot. */
const MAX_NAME = 253
const LABEL = /^[!-~]{1,63}$/

/** The name in lower case without final dot; null when the DNS can hold no such name. */
export function dnsName(name: string): string | null {
  const plain = (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
  return plain.length <= MAX_NAME && plain.split('.').every((label) => LABEL.test(label)) ? plain : null
}

/**
 * A question as a stub resolver asks it. AD and DO both say that we understand AD in the reply (RFC 6840 §5.7); some resolvers
 * heed only one of them.
 *
 * @param hasEdns false for servers from before EDNS (RFC 6891 §6.2.2)
 */
export function encodeQuery({ name, type }: Question, id: number, hasEdns: boolean): Query {
  const opt: OptAnswer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_SIZE,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: dnsPacket.DNSSEC_OK,
    flag_do: true,
    options: [],
  }
  const bytes = encode({
    type: 'query',
    id,
    flags: dnsPacket.RECURSION_DESIRED | dnsPacket.AUTHENTIC_DATA,
    questions: [{ name, type }],
    additionals: hasEdns ? [opt] : [],
  })
  return { name, type, id, bytes }
}

export function readReply(bytes: Buffer, query: Query): Reading {
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== query.id) return 'foreign'
  if (!hasPlausibleCounts(bytes)) return 'nonsense'
  let packet: DecodedPacket
  try {
    packet = decode(bytes)
  } catch {
    return 'nonsense'
  }
  const opt = (packet.additionals ?? []).find((record): record is OptAnswer => record.type === 'OPT')
  const rcode = (bytes.readUInt16BE(2) & 0x0f) | ((opt?.extendedRcode ?? 0) << 4)
  if (!packet.flag_qr || !isAboutQuestion(packet, query, rcode)) return 'nonsense'
  const answers = packet.answers ?? []
  const negativeTtl = negativeTtlOf(packet)
  return {
    rcode,
    isTruncated: packet.flag_tc,
    isAuthenticated: packet.flag_ad,
    isReferral: !packet.flag_ra && !packet.flag_aa && answers.length === 0 && negativeTtl === null,
    answers,
    negativeTtl,
    extendedError: extendedErrorOf(opt),
    sizeBytes: bytes.length,
  }
}

/** Counts that the octets cannot hold would make the decoder read the same octets thousands of times. */
function hasPlausibleCounts(bytes: Buffer): boolean {
  if (bytes.length < HEADER_BYTES || bytes.length > MAX_REPLY_BYTES) return false
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10)
  return bytes.readUInt16BE(4) <= 1 && records * MIN_RECORD_BYTES <= bytes.length - HEADER_BYTES
}

/** Servers that refuse may leave the question away; whoever answers has to repeat it. */
function isAboutQuestion(packet: DecodedPacket, query: Query, rcode: number): boolean {
  const [asked] = packet.questions ?? []
  if (asked === undefined) return rcode !== RCODE.noError && rcode !== RCODE.nxDomain
  return asked.type === query.type && asked.class === 'IN' && dnsName(asked.name) === query.name
}

function negativeTtlOf(packet: DecodedPacket): number | null {
  for (const record of packet.authorities ?? []) {
    if (record.type === 'SOA') return Math.min(ttlOf(record), record.data.minimum ?? 0)
  }
  return null
}

/** Info-code of the first extended error: option 15, two octets, then text for people (RFC 8914 §2). */
function extendedErrorOf(opt: OptAnswer | undefined): number | null {
  const option = (opt?.options ?? []).find((one) => (one.code as number) === 15)
  return option?.data !== undefined && option.data.length >= 2 ? option.data.readUInt16BE(0) : null
}

/** In seconds; with the highest bit set it counts as 0 (RFC 2181 §8). */
export function ttlOf(record: Answer): number {
  const ttl = 'ttl' in record ? (record.ttl ?? 0) : 0
  return ttl >= 2 ** 31 ? 0 : ttl
}

/** A record's data as `DnsRecords` tells it; undefined for one that cannot be. */
export function recordData<T extends DnsType>(type: T, record: Answer): DnsRecords[T] | undefined
export function recordData(type: DnsType, record: Answer): DnsRecords[DnsType] | undefined {
  if (record.type !== type) return undefined
  switch (record.type) {
    case 'A':
      return isIP(record.data) === 4 ? record.data : undefined
    case 'AAAA':
      return isIP(record.data) === 6 ? record.data : undefined
    case 'MX':
      return { exchange: hostOf(record.data.exchange), priority: record.data.preference ?? 0 }
    case 'TXT':
      return Buffer.concat([record.data].flat().map((part) => Buffer.from(part))).toString()
    case 'TLSA': {
      const { usage, selector, matchingType, certificate } = record.data
      // A copy: the decoder's slice would keep the whole reply in memory.
      return { usage, selector, matchingType, data: Buffer.from(certificate) }
    }
    case 'CNAME':
    case 'PTR':
      return hostOf(record.data)
    default:
      return undefined
  }
}

/** Lower case, no final dot; the root is empty. */
export function hostOf(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}
