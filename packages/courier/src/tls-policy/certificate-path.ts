/**
 * A path of signatures from a server's certificate to an anchor (RFC 5280 §6.1, as far as DANE-TA needs it), among the
 * certificates that the server sent.
 *
 * Whatever is not understood refuses: constraints on names and policies, which hardly any mail server's authority uses, are not
 * evaluated, and a path that carries them does not count.
 */
import type { KeyObject, X509Certificate } from 'node:crypto'
import { type CertificateExtensions, readExtensions } from './certificate-extensions.ts'

/** What is wrong with a certificate, in the terms that reports need (RFC 8460 §4.3). */
export type CertificateFault = 'mismatch' | 'host-mismatch' | 'expired' | 'not-trusted'

export interface PathFault {
  fault: CertificateFault
  /** A sentence. */
  detail: string
}

export interface PathQuestion {
  leaf: X509Certificate
  /** In any order. */
  others: readonly X509Certificate[]
  isAnchor(certificate: X509Certificate): boolean
  /** Keys that are anchors without a certificate. */
  anchorKeys: readonly KeyObject[]
  at: Date
}

const serverAuth = '1.3.6.1.5.5.7.3.1'
const anyExtendedKeyUsage = '2.5.29.37.0'
/** Digests that can be forged: what is signed with them proves nothing (RFC 9155 for SHA-1). */
const forgeable = /^(?:md[245]|sha-?1|ecdsa-with-sha1|dsa-?with-?sha1)|sha1With|md[245]With/i

/** @returns what keeps the certificate from standing for any of these names (RFC 6125 §6.4: DNS names, whole-label wildcards) */
export function namesFault(leaf: X509Certificate, names: readonly string[]): PathFault | null {
  const isNamed = names.some(
    (name) => leaf.checkHost(name, { partialWildcards: false, subject: 'default' }) !== undefined,
  )
  if (isNamed) return null
  return {
    fault: 'host-mismatch',
    detail: `the certificate is not for ${names.join(' or ')} but for ${shownNames(leaf)}`,
  }
}

/** @returns null when there is a path, else what is wrong with the nearest one */
export function findPathToAnchor(question: PathQuestion): PathFault | null {
  const { leaf, others, anchorKeys, at } = question
  const problem = validityFault(leaf, at) ?? usageFault(leaf)
  if (problem !== null) return problem
  let nearest: PathFault = {
    fault: 'not-trusted',
    detail: `the certificate of ${shownNames(leaf)}, issued by ${oneLine(leaf.issuer)}, does not lead to an anchor that the TLSA records name`,
  }
  // Each is looked at once: certificates that issued each other make no circle, and the work is bounded by their number squared.
  const untried = new Set(others)
  const reaches = (certificate: X509Certificate, authoritiesBelow: number): boolean => {
    if (anchorKeys.some((key) => isSignedBy(certificate, key))) return true
    for (const issuer of [...untried]) {
      if (!untried.has(issuer) || !certificate.checkIssued(issuer)) continue
      if (!isSignedBy(certificate, issuer.publicKey)) continue
      untried.delete(issuer)
      const fault = validityFault(issuer, at) ?? authorityFault(issuer, authoritiesBelow)
      if (fault !== null) nearest = fault
      else if (question.isAnchor(issuer)) return true
      else if (reaches(issuer, authoritiesBelow + (issuer.subject === issuer.issuer ? 0 : 1))) return true
    }
    return false
  }
  return reaches(leaf, 0) ? null : nearest
}

function isSignedBy(certificate: X509Certificate, key: KeyObject): boolean {
  if (forgeable.test(certificate.signatureAlgorithm ?? '')) return false
  if ((key.asymmetricKeyDetails?.modulusLength ?? 2048) < 1024) return false
  try {
    return certificate.verify(key)
  } catch {
    // Another kind of key than the one that signed.
    return false
  }
}

function validityFault(certificate: X509Certificate, at: Date): PathFault | null {
  if (at > certificate.validToDate) {
    return {
      fault: 'expired',
      detail: `the certificate of ${shownNames(certificate)} has expired on ${certificate.validTo}`,
    }
  }
  if (at < certificate.validFromDate) {
    return {
      fault: 'expired',
      detail: `the certificate of ${shownNames(certificate)} is not valid before ${certificate.validFrom}`,
    }
  }
  return null
}

function usageFault(leaf: X509Certificate): PathFault | null {
  const usages: string[] | undefined = leaf.keyUsage
  if (usages !== undefined && !usages.includes(serverAuth) && !usages.includes(anyExtendedKeyUsage)) {
    return { fault: 'not-trusted', detail: `the certificate of ${shownNames(leaf)} is not for servers` }
  }
  return understandingFault(leaf, readExtensions(leaf.raw))
}

/** @param authoritiesBelow between it and the server's certificate, not counting self-issued ones (RFC 5280 §4.2.1.9) */
function authorityFault(issuer: X509Certificate, authoritiesBelow: number): PathFault | null {
  const who = oneLine(issuer.subject)
  if (!issuer.ca) return { fault: 'not-trusted', detail: `${who} signed a certificate and is no authority` }
  const extensions = readExtensions(issuer.raw)
  const limit = extensions?.pathLength ?? null
  if (limit !== null && authoritiesBelow > limit) {
    return {
      fault: 'not-trusted',
      detail: `${who} allows ${limit} further authorities below it, and there are ${authoritiesBelow}`,
    }
  }
  return understandingFault(issuer, extensions)
}

/** RFC 5280 §4.2: an extension that is critical and not understood refuses the certificate. */
function understandingFault(
  certificate: X509Certificate,
  extensions: CertificateExtensions | null,
): PathFault | null {
  if (extensions !== null && extensions.notUnderstood.length === 0) return null
  const what = extensions === null ? 'a form' : `constraints (${extensions.notUnderstood.join(', ')})`
  return {
    fault: 'not-trusted',
    detail: `the certificate of ${shownNames(certificate)} has ${what} that cannot be judged`,
  }
}

/** Some certificates bear hundreds. */
const maxShownCharacters = 200

function shownNames(certificate: X509Certificate): string {
  const names = certificate.subjectAltName ?? oneLine(certificate.subject)
  return names.length > maxShownCharacters ? `${names.slice(0, maxShownCharacters)} …` : names
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ')
}
