/**
 * What went wrong with TLS, in the words of a report (RFC 8460 §4.3), and how an attempt is told in them.
 */
import type { TransactionReport } from '@valija/core'

export const tlsFailures = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'dane-required',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'sts-webpki-invalid',
] as const
export type TlsFailure = (typeof tlsFailures)[number]

/** Which kind of policy applied (RFC 8460 §4.2). */
export type TlsPolicyType = 'tlsa' | 'sts' | 'no-policy-found'

/** What is counted of a session besides how it went. */
export interface ReportedPolicy {
  type: TlsPolicyType
  /** Something is wrong with the policy itself, however the session goes. */
  fault: TlsFailure | null
}

/**
 * In this order: a certificate that has expired is also not trusted. The words are those of OpenSSL, of Node, of the session's TLS
 * verdict and of `certificate-path.ts`.
 */
const certificateFailures: [RegExp, TlsFailure][] = [
  [/expired|not[ _](?:yet[ _]valid|valid[ _](?:yet|before))/i, 'certificate-expired'],
  [/altname|certificate is not for|host(?:name)?[ /-].*match/i, 'certificate-host-mismatch'],
  [
    /self[ _-]signed|unable[ _]to[ _](?:get|verify)|not trusted|issuer .* not known|anchor|no authority/i,
    'certificate-not-trusted',
  ],
]
const notOffered = /STARTTLS/i

/**
 * How TLS went in an attempt that opened a session.
 *
 * @returns null when there was no session to speak of: no connection, no greeting, no EHLO
 */
export function tlsOutcomeOf(
  report: Pick<TransactionReport, 'tls' | 'phase' | 'failure' | 'detail'>,
  policy: ReportedPolicy,
): TlsFailure | 'success' | null {
  const { tls, phase, failure, detail } = report
  if (phase === 'dns' || phase === 'connect' || phase === 'greeting') return null
  if (phase === 'ehlo' && tls === null) return null
  if (policy.fault !== null) return policy.fault
  if (tls !== null) {
    // Under a policy a certificate has to be good, also where nothing hangs on it (MTA-STS in mode testing).
    return policy.type === 'no-policy-found' || tls.verified ? 'success' : certificateFailure(tls.detail)
  }
  return phase === 'tls' && failure !== null && !notOffered.test(detail ?? '')
    ? certificateFailure(detail)
    : 'starttls-not-supported'
}

function certificateFailure(detail: string | null): TlsFailure {
  return certificateFailures.find(([words]) => words.test(detail ?? ''))?.[1] ?? 'validation-failure'
}
