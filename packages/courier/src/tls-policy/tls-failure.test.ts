import { describe, expect, test } from 'vitest'
import { type ReportedPolicy, tlsOutcomeOf } from './tls-failure.ts'

const none: ReportedPolicy = { type: 'no-policy-found', fault: null }
const sts: ReportedPolicy = { type: 'sts', fault: null }
const tlsa: ReportedPolicy = { type: 'tlsa', fault: null }

const facts = (detail: string | null) => ({
  version: 'TLSv1.3',
  cipher: 'TLS_AES_256_GCM_SHA384',
  verified: detail === null,
  policy: 'opportunistic' as const,
  detail,
})
const delivered = { phase: 'body', failure: null, detail: null, tls: facts(null) } as const
const failed = (detail: string) => ({ phase: 'tls', failure: 'tls', detail, tls: null }) as const

describe('a session', () => {
  test('that was encrypted is a success, whatever became of the mail', () => {
    for (const policy of [none, sts, tlsa]) {
      expect(tlsOutcomeOf(delivered, policy)).toBe('success')
      expect(tlsOutcomeOf({ ...delivered, phase: 'rcpt' }, policy)).toBe('success')
    }
  })

  test('that was encrypted to whomever is one only where no certificate was asked for', () => {
    const unverified = {
      ...delivered,
      tls: facts('the certificate is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)'),
    }
    expect(tlsOutcomeOf(unverified, none)).toBe('success')
    expect(tlsOutcomeOf(unverified, sts)).toBe('certificate-not-trusted')
    const otherKey = { ...delivered, tls: facts('no TLSA record matches the certificate') }
    expect(tlsOutcomeOf(otherKey, tlsa)).toBe('validation-failure')
  })

  test('in plaintext had no STARTTLS', () => {
    expect(tlsOutcomeOf({ ...delivered, tls: null }, none)).toBe('starttls-not-supported')
    expect(tlsOutcomeOf({ phase: 'tls', failure: null, detail: null, tls: null }, sts)).toBe(
      'starttls-not-supported',
    )
    expect(tlsOutcomeOf(failed('TLS is demanded, and the peer does not offer STARTTLS'), sts)).toBe(
      'starttls-not-supported',
    )
  })

  test('under a policy that is itself at fault is counted by that fault', () => {
    expect(tlsOutcomeOf(delivered, { type: 'tlsa', fault: 'tlsa-invalid' })).toBe('tlsa-invalid')
  })

  test.each(['dns', 'connect', 'greeting', 'ehlo'] as const)('that ended at %s was none', (phase) => {
    const report = { phase, failure: 'timeout', detail: 'no answer', tls: null } as const
    expect(tlsOutcomeOf(report, sts)).toBeNull()
    expect(tlsOutcomeOf(report, { type: 'sts', fault: 'sts-policy-invalid' })).toBeNull()
  })
})

test.each([
  ['the certificate has expired (CERT_HAS_EXPIRED)', 'certificate-expired'],
  ['the certificate is not valid yet (CERT_NOT_YET_VALID)', 'certificate-expired'],
  ['the certificate of DNS:mx.example.com has expired on Jan  2 00:00:00 1970 GMT', 'certificate-expired'],
  [
    'the certificate of DNS:mx.example.com is not valid before Jan  2 00:00:00 2070 GMT',
    'certificate-expired',
  ],
  ['the certificate is not for mx.example.com (ERR_TLS_CERT_ALTNAME_INVALID)', 'certificate-host-mismatch'],
  [
    'the certificate is not for mx.example.com or example.com but for DNS:other.example',
    'certificate-host-mismatch',
  ],
  ['the certificate is self-signed (DEPTH_ZERO_SELF_SIGNED_CERT)', 'certificate-not-trusted'],
  [
    'the certificate was issued by an authority that is not trusted (SELF_SIGNED_CERT_IN_CHAIN)',
    'certificate-not-trusted',
  ],
  [
    'the issuer of the certificate is not known (UNABLE_TO_GET_ISSUER_CERT_LOCALLY)',
    'certificate-not-trusted',
  ],
  [
    'the certificate of DNS:mx.example.com, issued by CN=Root, does not lead to an anchor that the TLSA records name',
    'certificate-not-trusted',
  ],
  [
    "the server's certificate (SHA-256 of its key: 00) matches none of the TLSA records (3 1 1)",
    'validation-failure',
  ],
  ['the TLS handshake failed: wrong version number', 'validation-failure'],
])('%s → %s', (detail, result) => {
  expect(tlsOutcomeOf(failed(detail), sts)).toBe(result)
})
