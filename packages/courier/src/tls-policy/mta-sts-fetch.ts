/**
 * Fetches a domain's MTA-STS policy (RFC 8461 §3.3): over HTTPS with a certificate that is valid for the policy host, from one
 * well-known place, no redirects, plain text, of bounded size and time.
 */
import type { OutgoingHttp } from '../outgoing-http.ts'
import { readStsPolicy, type StsPolicy } from './mta-sts-documents.ts'
import type { TlsFailure } from './tls-failure.ts'

export type FetchedStsPolicy =
  | { ok: true; text: string; policy: StsPolicy }
  /** `isOwnWant`: this process had no socket to ask by. */
  | { ok: false; fault: TlsFailure; detail: string; isOwnWant?: boolean }

const maxPolicyBytes = 64 * 1024
/** RFC 8461 §3.3 suggests a minute; a mail waits for this. */
export const policyFetchTimeoutMs = 10_000

/** @param port 443, but for tests */
export async function fetchStsPolicy(
  http: OutgoingHttp,
  domain: string,
  port: number,
): Promise<FetchedStsPolicy> {
  const url = `https://mta-sts.${domain}:${port}/.well-known/mta-sts.txt`
  const answer = await http.get(url, {
    headers: { accept: 'text/plain', 'user-agent': 'Valija (MTA-STS)' },
    maxBodyBytes: maxPolicyBytes,
    timeoutMs: policyFetchTimeoutMs,
  })
  if (answer.kind === 'failure') {
    const fault = answer.code === 'tls' ? 'sts-webpki-invalid' : 'sts-policy-fetch-error'
    return { ok: false, fault, detail: answer.message, isOwnWant: answer.code === 'no_socket' }
  }
  if (answer.statusCode !== 200) {
    return refuse('sts-policy-fetch-error', `the policy host answered with status ${answer.statusCode}`)
  }
  const mediaType = answer.contentType?.split(';')[0]?.trim().toLowerCase()
  if (mediaType !== 'text/plain') {
    return refuse(
      'sts-policy-fetch-error',
      `the policy is sent as ${mediaType ?? 'nothing'} and not as text/plain`,
    )
  }
  if (answer.isCut) return refuse('sts-policy-invalid', 'the policy is longer than 64 KB')
  const text = answer.body.toString('utf8')
  const read = await readStsPolicy(text)
  return read.ok ? { ok: true, text, policy: read.policy } : refuse('sts-policy-invalid', read.detail)
}

function refuse(fault: TlsFailure, detail: string): FetchedStsPolicy {
  return { ok: false, fault, detail }
}
