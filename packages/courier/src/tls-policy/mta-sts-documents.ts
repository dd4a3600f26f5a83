/**
 * The two documents of MTA-STS, the TXT record and the policy (RFC 8461 §3.1, §3.2), read by mailauth in its strict form: what the
 * RFC calls invalid counts as absent, as for every other sender. mailauth's own fetch is not used: it would go past our guard.
 *
 * mailauth is loaded when a domain is first asked for, or soon after the start of a worker: it takes 0.1 s, and only who delivers by MX ever asks.
 */
import type { Resolver } from '../dns/dns-answer.ts'

export interface StsPolicy {
  mode: 'enforce' | 'testing' | 'none'
  /** Seconds. */
  maxAge: number
  /** Names of exchangers, with `*.` for one whole label. */
  mx?: string[]
}

export type StsRecord =
  | { kind: 'id'; id: string }
  /** No record, or none that is valid. */
  | { kind: 'none' }
  /** Nobody could say. `isOwnWant`: this process had no socket to ask by. */
  | { kind: 'unavailable'; detail: string; isOwnWant?: boolean }

class RecordUnavailable extends Error {
  readonly answer

  constructor(answer: Extract<StsRecord, { kind: 'unavailable' }>) {
    super(answer.detail)
    this.answer = answer
  }
}

export async function readStsRecord(resolver: Resolver, domain: string): Promise<StsRecord> {
  const askResolver = async (name: string): Promise<string[][]> => {
    const answer = await resolver.resolve(name, 'TXT')
    if (answer.kind === 'unavailable') throw new RecordUnavailable(answer)
    return answer.kind === 'records' ? answer.records.map((record) => [record]) : []
  }
  const { resolvePolicy } = await loadMailauth()
  try {
    const id = await resolvePolicy(domain, { strict: true, resolver: askResolver })
    return id === false ? { kind: 'none' } : { kind: 'id', id }
  } catch (error) {
    if (error instanceof RecordUnavailable) return error.answer
    // Several records are none (RFC 8461 §3.1).
    return { kind: 'none' }
  }
}

/** @param text of the policy file, or as it was stored */
export async function readStsPolicy(
  text: string,
): Promise<{ ok: true; policy: StsPolicy } | { ok: false; detail: string }> {
  // PostgreSQL stores no NUL, and no policy has one.
  if (text.includes('\0')) return { ok: false, detail: 'it is not text' }
  const { parsePolicy } = await loadMailauth()
  try {
    return { ok: true, policy: parsePolicy(text, { strict: true }) }
  } catch (error) {
    return { ok: false, detail: (error as Error).message }
  }
}

/** RFC 8461 §4.1. */
export async function isNamedByPolicy(host: string, policy: StsPolicy): Promise<boolean> {
  const { validateMx } = await loadMailauth()
  return validateMx(host, policy).valid
}

function loadMailauth() {
  return import('mailauth/lib/mta-sts.js')
}
