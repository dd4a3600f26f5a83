/**
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a key derived from `VALIJA_SECRET_KEY` (HKDF, RFC 5869), bound to
 * what they belong to, so that a sealed value moved to another tenant's row cannot be opened.
 *
 * Layout: version (1 octet) · key fingerprint (4) · nonce (12) · tag (16) · ciphertext.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'

export interface Sealer {
  /** @param owner what the secret belongs to, such as `webhook:<tenant>:<id>` */
  seal(plain: Buffer, owner: string): Buffer
  /** @throws {SealError} when no configured key opens it or it belongs to something else */
  open(sealed: Buffer, owner: string): Buffer
  /** A key for signing (HMAC), derived from the first secret key; `purpose` keeps uses apart. 32 octets each, newest first. */
  signingKeys(purpose: string): Buffer[]
  /** What a value bears of the key that sealed it, of each configured key: 4 octets, the one that seals first. They tell nothing of the key. */
  readonly fingerprints: readonly Buffer[]
}

/** The fingerprint that a sealed value bears. */
export function fingerprintOf(sealed: Buffer): Buffer {
  return sealed.subarray(1, 5)
}

export class SealError extends Error {
  override name = 'SealError'
}

const version = 1

/**
 * @param secretKeys the values of VALIJA_SECRET_KEY: the first seals, all open
 * @throws {RangeError} without any key
 */
export function createSealer(secretKeys: readonly string[]): Sealer {
  const keys = secretKeys.map((secret) => derive(secret))
  const first = keys[0]
  if (first === undefined) throw new RangeError('at least one secret key is needed')
  return {
    fingerprints: keys.map(({ fingerprint }) => fingerprint),
    seal: (plain, owner) => {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', first.key, nonce).setAAD(Buffer.from(owner))
      const text = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([Buffer.of(version), first.fingerprint, nonce, cipher.getAuthTag(), text])
    },
    open: (sealed, owner) => {
      const key = keys.find((candidate) => candidate.fingerprint.equals(fingerprintOf(sealed)))
      if (sealed[0] !== version || key === undefined) {
        throw new SealError('sealed with a secret key that is not configured')
      }
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.key, sealed.subarray(5, 17))
        decipher.setAAD(Buffer.from(owner)).setAuthTag(sealed.subarray(17, 33))
        return Buffer.concat([decipher.update(sealed.subarray(33)), decipher.final()])
      } catch (cause) {
        throw new SealError(`not a sealed secret of ${owner}`, { cause })
      }
    },
    signingKeys: (purpose) =>
      secretKeys.map((secret) => Buffer.from(hkdfSync('sha256', secret, '', `valija sign ${purpose}`, 32))),
  }
}

function derive(secret: string) {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'valija seal', 32))
  return { key, fingerprint: createHash('sha256').update(key).digest().subarray(0, 4) }
}
