/**
 * Signed addresses of ours that others report to, besides return paths (verp.ts):
 *
 *   `r-…`  reports about a sender domain: what its DMARC record names in rua (RFC 9990), and its TLS-RPT record (RFC 8460).
 *          Domain id (16 octets) and MAC: 54 octets. It stands in DNS, so it has no end.
 *   `c-…`  complaints about a message, and the token that stands in its header besides: message id (16 octets), day of hand-off
 *          (2) and MAC: 57 octets, valid for as long as a return path. All recipients of a message share it, for they share its bytes.
 *
 * Neither is bound to the domain that it is at: that can move.
 */
import { Buffer } from 'node:buffer'
import {
  octetsOfId,
  readLocalPart,
  type SignedReading,
  type SignedUse,
  signLocalPart,
} from './signed-local-part.ts'
import { isSignedDayValid, RETURN_PATH_VALID_DAYS } from './verp.ts'

const domainUse: SignedUse = { prefix: 'r-', label: 'valija domain reports 1\0', payloadOctets: 16 }
const messageUse: SignedUse = { prefix: 'c-', label: 'valija complaints 1\0', payloadOctets: 18 }

const messages = {
  foreign: 'The address is no report address of this service.',
  forged: 'The signature of the report address does not fit.',
  expired: `The report address is not valid on this day; it is for ${RETURN_PATH_VALID_DAYS} days.`,
}

/**
 * The address for reports about one of our tenants' domains.
 *
 * @param domainId the domain's UUID, with or without hyphens
 * @param secret key of the MAC, at least 16 octets: `sealer.signingKeys('return path')`
 * @param host domain that takes our bounces (VALIJA_BOUNCE_DOMAIN), in canonical form
 */
export function domainReportAddress(domainId: string, secret: Buffer, host: string): string {
  return `${signLocalPart(domainUse, octetsOfId(domainId), secret)}@${host}`
}

/**
 * The domain that reports to this address are about.
 *
 * @param address in any case; its domain is not looked at
 * @returns 32 lower-case hex digits: the UUID of the domain without hyphens
 */
export function readDomainReportAddress(
  address: string,
  secrets: readonly Buffer[],
): SignedReading<{ domainId: string }> {
  const payload = readLocalPart(domainUse, address, secrets)
  if (typeof payload === 'string') return { ok: false, fault: payload, message: messages[payload] }
  return { ok: true, value: { domainId: payload.toString('hex') } }
}

/** What names a message to us alone. */
export interface MessageToken {
  /** 32 lower-case hex digits: the UUID of the message without hyphens. */
  messageId: string
  /** Days since 1970-01-01 UTC on which the mail was first handed off. */
  day: number
}

/**
 * The token of a message: a header field's value, and the local part of the address for complaints about it.
 *
 * @throws RangeError for a day that has no room, TypeError for an id of another length
 */
export function messageToken({ messageId, day }: MessageToken, secret: Buffer): string {
  const payload = Buffer.alloc(messageUse.payloadOctets)
  octetsOfId(messageId).copy(payload)
  payload.writeUInt16BE(day, 16)
  return signLocalPart(messageUse, payload, secret)
}

/**
 * Reads a token, alone or as an address, and checks that one of our secrets signed it, within the last 60 days.
 *
 * @param today days since 1970-01-01 UTC
 */
export function readMessageToken(
  token: string,
  secrets: readonly Buffer[],
  today: number,
): SignedReading<MessageToken> {
  const payload = readLocalPart(messageUse, token.trim(), secrets)
  if (typeof payload === 'string') return { ok: false, fault: payload, message: messages[payload] }
  const day = payload.readUInt16BE(16)
  if (!isSignedDayValid(day, today)) return { ok: false, fault: 'expired', message: messages.expired }
  return { ok: true, value: { messageId: payload.toString('hex', 0, 16), day } }
}
