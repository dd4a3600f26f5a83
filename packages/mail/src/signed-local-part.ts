/**
 * Local parts that only we can make: a short prefix, and in base32 what they say with a MAC over it. Mail to an address that
 * we gave out comes back to it, and mail to one that somebody made up is told apart before a word of it is read.
 *
 * Base32 (RFC 4648, lower case, no padding) because hosts on the way may change the case of a local part; and one value has
 * one spelling only (but for case), so nobody can write the same address in many ways.
 */
import { Buffer } from 'node:buffer'
import { createHmac, timingSafeEqual } from 'node:crypto'

/** A use of such addresses. */
export interface SignedUse {
  /** Such as `b-`. */
  prefix: string
  /** Keeps the same secret, used for something else, from signing these. */
  label: string
  payloadOctets: number
}

export const MAC_OCTETS = 16
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** What is wrong with an address: not of this form, not signed by us, or signed too long ago. */
export type SignedFault = 'foreign' | 'forged' | 'expired'

/** As `Parsed` of address.ts, and with the kind of fault, to count by. */
export type SignedReading<T> = { ok: true; value: T } | { ok: false; message: string; fault: SignedFault }

/** The local part that says `payload`. */
export function signLocalPart(use: SignedUse, payload: Buffer, secret: Buffer): string {
  return use.prefix + toBase32(Buffer.concat([payload, mac(use, payload, secret)]))
}

/**
 * What a local part of this use says.
 *
 * @param address with or without a domain, which is not looked at, in any case
 * @param secrets the present one and older ones; each is tried, in constant time
 * @returns `foreign` when it has not the form, `forged` when none of the secrets signed it
 */
export function readLocalPart(
  use: SignedUse,
  address: string,
  secrets: readonly Buffer[],
): Buffer | Exclude<SignedFault, 'expired'> {
  const at = address.lastIndexOf('@')
  const local = (at < 0 ? address : address.slice(0, at)).toLowerCase()
  const digits = Math.ceil(((use.payloadOctets + MAC_OCTETS) * 8) / 5)
  if (local.length !== use.prefix.length + digits || !local.startsWith(use.prefix)) return 'foreign'
  const octets = fromBase32(local.slice(use.prefix.length))
  if (octets === null) return 'foreign'
  const payload = octets.subarray(0, use.payloadOctets)
  const given = octets.subarray(use.payloadOctets)
  // No early end: which of the secrets fits is nobody's business either.
  const fits = secrets.map((secret) => timingSafeEqual(mac(use, payload, secret), given))
  return fits.includes(true) ? payload : 'forged'
}

/**
 * A UUID as octets.
 *
 * @param id 16 octets, or their 32 hex digits, with or without hyphens
 * @throws {TypeError} for an id of another length
 */
export function octetsOfId(id: Uint8Array | string): Buffer {
  const digits = typeof id === 'string' ? id.replaceAll('-', '') : null
  const octets = digits === null ? Buffer.from(id as Uint8Array) : Buffer.from(digits, 'hex')
  if (octets.length !== 16 || (digits !== null && digits.length !== 32)) {
    throw new TypeError('An id has 16 octets')
  }
  return octets
}

function mac({ label }: SignedUse, payload: Buffer, secret: Buffer): Buffer {
  return createHmac('sha256', secret).update(label).update(payload).digest().subarray(0, MAC_OCTETS)
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

/** @returns null for other characters, and when the left-over bits are not zero */
function fromBase32(text: string): Buffer | null {
  if (!/^[a-z2-7]*$/.test(text)) return null
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
