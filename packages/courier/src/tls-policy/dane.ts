/**
 * DANE for SMTP (RFC 7672): which TLSA records can be used, and whether the certificates that a peer showed match them.
 *
 * Node does not offer OpenSSL's own DANE verification, so this is done after the handshake, on the chain that the peer sent. It
 * uses no list of trusted authorities: the records, which DNSSEC vouches for, are all the trust there is.
 */
import { createHash, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { TlsaRecord } from '../dns/dns-answer.ts'
import { type CertificateFault, findPathToAnchor, namesFault } from './certificate-path.ts'

/** RFC 7218. The PKIX usages 0 and 1 are not for SMTP: nobody could say whose authorities they mean (RFC 7672 §3.1.3). */
const daneTa = 2
const daneEe = 3

const digests: Record<number, { algorithm: string; sizeBytes: number }> = {
  1: { algorithm: 'sha256', sizeBytes: 32 },
  2: { algorithm: 'sha512', sizeBytes: 64 },
}

/** A peer can send more; nobody's chain needs it, and every pair costs a signature check. */
const maxChainLength = 10

export type TlsaMatch = { ok: true } | { ok: false; detail: string; fault: CertificateFault }

/**
 * The records that can be used: usage 2 or 3, known selector and matching type, data of the right form. Where a publisher gives
 * digests of several strengths for one usage and selector, only the strongest count (RFC 7671 §9), so that a weak one cannot
 * be attacked.
 */
export function usableTlsa(records: readonly TlsaRecord[]): TlsaRecord[] {
  const wellFormed = records.filter(isWellFormed)
  const strongestOf = new Map<string, number>()
  const keyOf = (record: TlsaRecord) => `${record.usage} ${record.selector}`
  for (const record of wellFormed) {
    const key = keyOf(record)
    strongestOf.set(key, Math.max(strongestOf.get(key) ?? 0, record.matchingType))
  }
  return wellFormed.filter(
    (record) => record.matchingType === 0 || record.matchingType === strongestOf.get(keyOf(record)),
  )
}

/**
 * Whether a peer is the one that the TLSA records mean.
 *
 * @param chain what the peer sent, its own certificate first; the others in any order
 * @param names what the certificate may bear where that matters (usage 2; RFC 7672 §3.2.2): the host, and the domain of the mail
 * @param at the time to judge validity by
 */
export function matchesTlsa(
  chain: readonly X509Certificate[],
  records: readonly TlsaRecord[],
  names: readonly string[],
  at: Date = new Date(),
): TlsaMatch {
  const [leaf, ...others] = chain.slice(0, maxChainLength)
  if (leaf === undefined)
    return { ok: false, fault: 'not-trusted', detail: 'the server showed no certificate' }
  const usable = usableTlsa(records)
  // Neither names nor dates count here: the record itself says that this is the host's key (RFC 7672 §3.1.1).
  if (usable.some((record) => record.usage === daneEe && matches(leaf, record))) return { ok: true }
  const anchors = usable.filter((record) => record.usage === daneTa)
  if (anchors.length === 0) {
    const shown = usable.map(({ usage, selector, matchingType }) => `${usage} ${selector} ${matchingType}`)
    return {
      ok: false,
      fault: 'mismatch',
      detail: `the server's certificate (SHA-256 of its key: ${keyDigest(leaf)}) matches none of the TLSA records (${shown.join(', ') || 'none can be used'})`,
    }
  }
  return matchesAnchor(leaf, others, anchors, { names, at })
}

/** Usage 2 (RFC 7672 §3.1.2): a path of signatures from the certificate to what a record names, with names and dates right. */
function matchesAnchor(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  records: readonly TlsaRecord[],
  { names, at }: { names: readonly string[]; at: Date },
): TlsaMatch {
  // A record with the whole certificate or key says it all: the peer need not send it (RFC 7671 §5.2.1, §5.2.3).
  const published = records.filter((record) => record.matchingType === 0)
  const certificates = published
    .filter(({ selector }) => selector === 0)
    .map(({ data }) => readCertificate(data))
  const keys = published.filter(({ selector }) => selector === 1).map(({ data }) => readKey(data))
  const fault =
    namesFault(leaf, names) ??
    findPathToAnchor({
      leaf,
      others: [...others, ...certificates.filter((certificate) => certificate !== null)],
      isAnchor: (certificate) => records.some((record) => matches(certificate, record)),
      anchorKeys: keys.filter((key) => key !== null),
      at,
    })
  return fault === null ? { ok: true } : { ok: false, ...fault }
}

function matches(certificate: X509Certificate, record: TlsaRecord): boolean {
  const bytes = record.selector === 0 ? certificate.raw : keyBytes(certificate)
  const digest = digests[record.matchingType]
  const expected = digest === undefined ? bytes : createHash(digest.algorithm).update(bytes).digest()
  return expected.equals(record.data)
}

function isWellFormed({ usage, selector, matchingType, data }: TlsaRecord): boolean {
  if ((usage !== daneTa && usage !== daneEe) || (selector !== 0 && selector !== 1)) return false
  if (matchingType === 0) return (selector === 0 ? readCertificate(data) : readKey(data)) !== null
  return digests[matchingType]?.sizeBytes === data.length
}

function keyBytes(certificate: X509Certificate): Buffer {
  return certificate.publicKey.export({ type: 'spki', format: 'der' })
}

function keyDigest(certificate: X509Certificate): string {
  return createHash('sha256').update(keyBytes(certificate)).digest('hex')
}

function readCertificate(data: Buffer): X509Certificate | null {
  try {
    return new X509Certificate(data)
  } catch {
    return null
  }
}

function readKey(data: Buffer): KeyObject | null {
  try {
    return createPublicKey({ key: data, format: 'der', type: 'spki' })
  } catch {
    return null
  }
}
