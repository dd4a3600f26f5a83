/**
 * What the link in a mail says to us: whose mail of which tenant and stream it is, and that nobody but us made it (RFC 8058 §3.1:
 * an opaque identifier that is hard to forge).
 *
 * All that unsubscribing needs is in it, also when message and recipient are long forgotten: people unsubscribe by mails that are
 * years old. It is encrypted, since an address has no place in the logs of whatever proxies a link passes. The same mail has to
 * get the same link at every try, so the nonce is made from the content: a synthetic IV, which is also the signature
 * (the construction of RFC 5297, with HMAC-SHA-256 and AES-256-CTR).
 *
 * Layout, in base64url: HMAC (16 octets) · encrypted: version (1) · stream (1) · tenant, message, recipient (16 each) · address.
 */
import { Buffer } from 'node:buffer'
import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'
import type { Uuid } from './ids.ts'
import { type Stream, streams } from './stream.ts'

/** Whom a link takes off which list. */
export interface UnsubscribeClaim {
  tenantId: Uuid
  messageId: Uuid
  recipientId: Uuid
  stream: Stream
  /** The recipient's address, in canonical form. */
  email: string
}

export interface UnsubscribeTokens {
  /** The same claim always gives the same token, until the first secret key changes. */
  make(claim: UnsubscribeClaim): string
  /** @returns null for whatever none of our keys made */
  read(token: string): UnsubscribeClaim | null
}

/** For `Sealer.signingKeys`. */
export const unsubscribePurpose = 'unsubscribe'

const version = 1
const macOctets = 16
const idOctets = 16
const headOctets = 2 + 3 * idOctets
/** RFC 5321 §4.5.3.1.3: a path of 256 octets with its brackets. */
const maxEmailOctets = 254
/** Base64 of what is longest. */
const maxTokenLength = Math.ceil(((macOctets + headOctets + maxEmailOctets) * 4) / 3)

/**
 * @param signingKeys of `Sealer.signingKeys(unsubscribePurpose)`: the first makes, all read
 * @throws {RangeError} without any key
 */
export function createUnsubscribeTokens(signingKeys: readonly Buffer[]): UnsubscribeTokens {
  const keys = signingKeys.map((key) => ({ mac: derive(key, 'mac'), text: derive(key, 'text') }))
  const first = keys[0]
  if (first === undefined) throw new RangeError('at least one signing key is needed')
  return {
    make: (claim) => {
      const plain = write(claim)
      const iv = macOf(first.mac, plain)
      const cipher = createCipheriv('aes-256-ctr', first.text, iv)
      return Buffer.concat([iv, cipher.update(plain), cipher.final()]).toString('base64url')
    },
    read: (token) => {
      if (token.length > maxTokenLength) return null
      const octets = Buffer.from(token, 'base64url')
      // One token has one spelling: no padding, no other alphabet, no left-over bits.
      if (octets.length <= macOctets + headOctets || octets.toString('base64url') !== token) return null
      const iv = octets.subarray(0, macOctets)
      const found = keys.flatMap((key) => {
        const decipher = createDecipheriv('aes-256-ctr', key.text, iv)
        const plain = Buffer.concat([decipher.update(octets.subarray(macOctets)), decipher.final()])
        return timingSafeEqual(macOf(key.mac, plain), iv) ? [plain] : []
      })
      return found[0] ? readClaim(found[0]) : null
    },
  }
}

function derive(key: Buffer, use: string): Buffer {
  return createHmac('sha256', key).update(`valija unsubscribe ${use}`).digest()
}

function macOf(key: Buffer, plain: Buffer): Buffer {
  return createHmac('sha256', key).update(plain).digest().subarray(0, macOctets)
}

function write({ tenantId, messageId, recipientId, stream, email }: UnsubscribeClaim): Buffer {
  const ids = [tenantId, messageId, recipientId].map((id) => Buffer.from(id.replaceAll('-', ''), 'hex'))
  return Buffer.concat([Buffer.of(version, streams.indexOf(stream)), ...ids, Buffer.from(email)])
}

function readClaim(plain: Buffer): UnsubscribeClaim | null {
  const stream = streams[plain[1]!]
  if (plain[0] !== version || stream === undefined) return null
  const idAt = (index: number) => {
    const hex = plain.toString('hex', 2 + index * idOctets, 2 + (index + 1) * idOctets)
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }
  const [tenantId, messageId, recipientId] = [idAt(0), idAt(1), idAt(2)]
  return { tenantId, messageId, recipientId, stream, email: plain.toString('utf8', headOctets) }
}
