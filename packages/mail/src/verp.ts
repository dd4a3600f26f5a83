/**
 * Signed return paths (VERP): a bounce comes back to an address that says which recipient of which message it is about,
 * and that nobody but us can make.
 *
 * Local part: `b-` and 58 characters of base32 (signed-local-part.ts) of
 * message id (16 octets), recipient ordinal (2), day of hand-off (2), MAC (16): 60 octets of the 64 that SMTP allows.
 * The domain is not signed: it can move.
 */
import { Buffer } from 'node:buffer'
import {
  octetsOfId,
  readLocalPart,
  type SignedReading,
  type SignedUse,
  signLocalPart,
} from './signed-local-part.ts'

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

const use: SignedUse = { prefix: 'b-', label: 'valija return path 1\0', payloadOctets: 20 }

const messages = {
  foreign: 'The address is not a return path of this service.',
  forged: 'The signature of the return path does not fit.',
  expired: `The return path is not valid on this day; it is for ${RETURN_PATH_VALID_DAYS} days.`,
}

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
  const payload = Buffer.alloc(use.payloadOctets)
  octetsOfId(path.messageId).copy(payload)
  payload.writeUInt16BE(path.ordinal, 16)
  payload.writeUInt16BE(path.day, 18)
  return `${signLocalPart(use, payload, secret)}@${domain}`
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
): SignedReading<ReturnPath> {
  const payload = readLocalPart(use, address, secrets)
  if (typeof payload === 'string') return { ok: false, fault: payload, message: messages[payload] }
  const day = payload.readUInt16BE(18)
  if (!isSignedDayValid(day, today)) return { ok: false, fault: 'expired', message: messages.expired }
  const messageId = payload.toString('hex', 0, 16)
  return { ok: true, value: { messageId, ordinal: payload.readUInt16BE(16), day } }
}

/** Whether what was signed for a day still holds. */
export function isSignedDayValid(day: number, today: number): boolean {
  return today - day <= RETURN_PATH_VALID_DAYS && day - today <= CLOCK_SKEW_DAYS
}
