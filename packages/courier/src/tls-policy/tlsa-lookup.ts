/**
 * The TLSA records of a mail exchanger (RFC 7672 §2.2): only for hosts whose exchanger and address records DNSSEC vouches for, and
 * then they must be known: an answer that cannot be had is not the same as no records.
 */
import { isIP } from 'node:net'
import type { DnsAnswer, Resolver, TlsaRecord } from '../dns/dns-answer.ts'
import { usableTlsa } from './dane.ts'

export type TlsaLookup =
  /** Nothing is published, or DNSSEC does not vouch for it. */
  | { kind: 'none' }
  /** `usable` is empty when none can be used. `base`: the name that they stand for. */
  | { kind: 'records'; usable: TlsaRecord[]; base: string }
  /** `isOwnWant`: this process had no socket to ask by. */
  | { kind: 'unavailable'; detail: string; isOwnWant?: boolean }

const maxAliases = 8

/** @param host whose address records are authenticated */
export async function lookUpTlsa(resolver: Resolver, host: string, port: number): Promise<TlsaLookup> {
  if (isIP(host) !== 0) return { kind: 'none' }
  const canonical = await canonicalName(resolver, host)
  if (typeof canonical !== 'string') {
    const detail = `the aliases of ${host} cannot be looked up now`
    return { kind: 'unavailable', detail, isOwnWant: canonical.isOwnWant }
  }
  // What an alias leads to comes first, then the name itself (RFC 7672 §2.2.2).
  for (const base of new Set([canonical, host])) {
    const name = `_${port}._tcp.${base}`
    const answer = await resolver.resolve(name, 'TLSA')
    // Postponed, never sent without: an attacker could make the look-up fail (RFC 7672 §2.1.1, §2.2).
    if (answer.kind === 'unavailable') {
      return {
        kind: 'unavailable',
        detail: `the TLSA records ${name} cannot be looked up now: ${answer.detail}`,
        isOwnWant: answer.isOwnWant,
      }
    }
    if (answer.kind === 'records' && answer.isAuthenticated) {
      return { kind: 'records', usable: usableTlsa(answer.records), base }
    }
  }
  return { kind: 'none' }
}

/** Where the aliases of a name end; the answer that lacks when that cannot be said. A loop, or too long a chain, ends where it is noticed. */
async function canonicalName(
  resolver: Resolver,
  host: string,
): Promise<string | Extract<DnsAnswer<'CNAME'>, { kind: 'unavailable' }>> {
  let name = host
  for (let step = 0; step < maxAliases; step += 1) {
    const answer = await resolver.resolve(name, 'CNAME')
    if (answer.kind === 'unavailable') return answer
    const [target] = answer.kind === 'records' ? answer.records : []
    if (target === undefined || answer.kind !== 'records' || !answer.isAuthenticated) return name
    name = target.toLowerCase().replace(/\.$/, '')
  }
  return name
}
