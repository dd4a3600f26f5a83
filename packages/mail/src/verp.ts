/**
 * Signed return paths (VERP): a bounce comes back to an address that says which recipient of which message it is about,
 * and that nobody but us can make.
 *
 * Local part: `b-` and 58 characters of base32 (RFC 4648, lower case, no padding) of
 * message id (16 octets), recipient ordinal (2), day of hand-off (2), MAC (16): 60 octets of the 64 that SMTP allows.
 * Base32 because hosts on the way may change the case. The domain is not signed: it can move.
 */
import { Buffer } from 'node:buffer'
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Parsed } from './address.ts'

export interface ReturnPath {
  /** 32 lower-case hex digits: the UUID of the message without hyphens. */
  messageId: string
  /** Position of the recipient in its message, from 0 to 65535. */
  ordinal: number
  /** Days since 1970-01-01 UTC on which the mail was first handed off. */
  day: number
}

/** Remote hosts give up after 5 days at most; the rest is for mail that a gateway holds back. */
export const RETURN_PATH_VALID_DAYS = 60
/** Two machines' clocks may stand on either side of midnight. */
const CLOCK_SKEW_DAYS = 1
const PREFIX = 'b-'
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const PAYLOAD_OCTETS = 20
const MAC_OCTETS = 16
const LOCAL_PART = /^b-[a-z2-7]{58}$/

/**
 * The return path for one recipient of one message.
 *
 * @param path.messageId 16 octets, or their 32 hex digits, with or without hyphens
 * @param secret key of the MAC, at least 16 octets
 * @param domain host that takes our bounces, in canonical form
 * @throws RangeError for a number that has no room, TypeError for an id of another length
 */
export function returnPath(
  path: { messageId: Uint8Array | string; ordinal: number; day: number },
  secret: Buffer,
  domain: string,
): string {
  const payload = Buffer.alloc(PAYLOAD_OCTETS)
  const id =
    typeof path.messageId === 'string' ? path.messageId.replaceAll('-', '') : Buffer.from(path.messageId)
  const octets = typeof id === 'string' ? Buffer.from(id, 'hex') : id
  if (octets.length !== 16 || (typeof id === 'string' && id.length !== 32)) {
    throw new TypeError('A message id has 16 octets')
  }
  octets.copy(payload)
  payload.writeUInt16BE(path.ordinal, 16)
  payload.writeUInt16BE(path.day, 18)
  return `${PREFIX}${toBase32(Buffer.concat([payload, mac(payload, secret)]))}@${domain}`
}

/**
 * Reads a return path and checks that one of our secrets signed it, within the last 60 days.
 *
 * @param address the recipient of a bounce, in any case; its domain is not looked at
 * @param secrets the present one and older ones; each is tried, in constant time
 * @param today days since 1970-01-01 UTC
 */
export function readReturnPath(
  address: string,
  secrets: readonly Buffer[],
  today: number,
): Parsed<ReturnPath> {
  const at = address.lastIndexOf('@')
  const local = (at < 0 ? address : address.slice(0, at)).toLowerCase()
  const octets = LOCAL_PART.test(local) ? fromBase32(local.slice(PREFIX.length)) : null
  if (octets === null) return { ok: false, message: 'The address is not a return path of this service.' }
  const payload = octets.subarray(0, PAYLOAD_OCTETS)
  const given = octets.subarray(PAYLOAD_OCTETS)
  // No early end: which of the secrets fits is nobody's business either.
  const fits = secrets.map((secret) => timingSafeEqual(mac(payload, secret), given))
  if (!fits.includes(true)) return { ok: false, message: 'The signature of the return path does not fit.' }
  const day = payload.readUInt16BE(18)
  if (today - day > RETURN_PATH_VALID_DAYS || day - today > CLOCK_SKEW_DAYS) {
    return {
      ok: false,
      message: `The return path is not valid on this day; it is for ${RETURN_PATH_VALID_DAYS} days.`,
    }
  }
  const messageId = payload.toString('hex', 0, 16)
  return { ok: true, value: { messageId, ordinal: payload.readUInt16BE(16), day } }
}

/** The label keeps the same secret, used for something else, from signing return paths. */
function mac(payload: Buffer, secret: Buffer): Buffer {
  return createHmac('sha256', secret)
    .update('valija return path 1\0')
    .update(payload)
    .digest()
    .subarray(0, MAC_OCTETS)
}

function toBase32(octets: Buffer): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const octet of octets) {
    value = ((value << 8) | octet) & 0xfff
    bits += 8
    for (; bits >= 5; bits -= 5) text += ALPHABET.charAt((value >> (bits - 5)) & 31)
  }
  return bits > 0 ? text + ALPHABET.charAt((value << (5 - bits)) & 31) : text
}

/** @returns null when the left-over bits are not zero: one return path has one spelling only (but for case) */
function fromBase32(text: string): Buffer | null {
  const octets = Buffer.alloc(Math.floor((text.length * 5) / 8))
  let bits = 0
  let value = 0
  let length = 0
  for (const char of text) {
    value = ((value << 5) | ALPHABET.indexOf(char)) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    octets[length++] = (value >> bits) & 0xff
  }
  return (value & ((1 << bits) - 1)) === 0 ? octets : null
}
