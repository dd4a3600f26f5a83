/**
 * What TLS a domain's mail exchangers must offer (DESIGN 4.20): DANE (RFC 7672) where DNSSEC vouches for a host, else the domain's
 * MTA-STS policy (RFC 8461), else whatever the host can.
 */
import { domainToASCII } from 'node:url'
import type { Resolver } from '../dns/dns-answer.ts'
import type { OutgoingHttp } from '../outgoing-http.ts'
import { strongest, type TlsDemand } from './demand.ts'
import { createStsPolicies, type StsAnswer, type StsPolicyCache } from './mta-sts.ts'
import { isNamedByPolicy } from './mta-sts-documents.ts'
import type { ReportedPolicy } from './tls-failure.ts'
import { lookUpTlsa, type TlsaLookup } from './tlsa-lookup.ts'

/** The part of a domain's exchangers that a policy depends on. */
export interface ExchangersToJudge {
  /** DNSSEC vouches for the MX records, or for their absence. */
  isAuthenticated: boolean
  hosts: readonly {
    name: string
    /** DNSSEC vouches for its addresses. */
    isAuthenticated: boolean
  }[]
}

export type DomainTlsPolicy =
  /** By the host's name, as it was given. */
  | { kind: 'hosts'; hosts: ReadonlyMap<string, HostTlsPolicy> }
  /** No host may be used now. The mail waits; nothing is sent with less TLS than was promised. */
  | {
      kind: 'unavailable'
      detail: string
      hosts: ReadonlyMap<string, HostTlsPolicy>
      /** For one of them this process had no socket to ask by. */
      isOwnWant: boolean
    }

export type HostTlsPolicy =
  | { isUsable: true; demand: TlsDemand; reported: ReportedPolicy }
  /** `detail`: why not, a sentence. `isOwnWant`: this process had no socket to ask by, so there is nothing to report. */
  | { isUsable: false; detail: string; reported: ReportedPolicy; isOwnWant?: boolean }

export interface TlsPolicies {
  /**
   * @param domain of the recipient, A-labels in lower case
   * @returns within about 10 s. Never rejects
   */
  policyFor(domain: string, exchangers: ExchangersToJudge): Promise<DomainTlsPolicy>
}

export interface TlsPolicyParts {
  resolver: Resolver
  /** Looks names up by the same resolver (`resolverLookup`). */
  http: OutgoingHttp
  cache: StsPolicyCache
  /** Of the exchangers, for the names of TLSA records: `_25._tcp.…`. */
  port?: number
  /** Of MTA-STS policy hosts. */
  policyPort?: number
  /** Monotonic, in milliseconds. */
  nowMs?: () => number
}

const opportunistic: TlsDemand = { tls: 'opportunistic', tlsPolicy: 'opportunistic' }

export function createTlsPolicies(parts: TlsPolicyParts): TlsPolicies {
  const { resolver, http, cache, port = 25, policyPort = 443, nowMs = () => performance.now() } = parts
  const stsPolicies = createStsPolicies({ resolver, http, cache, port: policyPort, nowMs })
  const lookUp = (
    host: ExchangersToJudge['hosts'][number],
    isDomainAuthenticated: boolean,
  ): Promise<TlsaLookup> =>
    isDomainAuthenticated && host.isAuthenticated
      ? lookUpTlsa(resolver, host.name, port)
      : Promise.resolve({ kind: 'none' })
  return {
    async policyFor(domain, exchangers) {
      const lookups = await Promise.all(
        exchangers.hosts.map((host) => lookUp(host, exchangers.isAuthenticated)),
      )
      const asked = domainToASCII(domain)
      // An address literal has no policy, and where DANE decides for every host nobody needs the other one.
      const isAsked = asked !== '' && !lookups.every(isDecisive)
      const sts: StsAnswer = isAsked ? await stsPolicies.policyOf(asked) : { kind: 'none', fault: null }
      const hosts = new Map<string, HostTlsPolicy>()
      for (const [index, host] of exchangers.hosts.entries()) {
        hosts.set(host.name, await judgeHost(host.name, domain, lookups[index] ?? { kind: 'none' }, sts))
      }
      return ofDomain(domain, hosts)
    },
  }
}

function isDecisive(lookup: TlsaLookup): boolean {
  return lookup.kind === 'unavailable' || (lookup.kind === 'records' && lookup.usable.length > 0)
}

function ofDomain(domain: string, hosts: ReadonlyMap<string, HostTlsPolicy>): DomainTlsPolicy {
  const judged = [...hosts.values()]
  if (judged.length === 0 || judged.some((host) => host.isUsable)) return { kind: 'hosts', hosts }
  const reasons = new Set(judged.map((host) => (host.isUsable ? '' : host.detail)))
  return {
    kind: 'unavailable',
    detail: `no mail exchanger of ${domain} can be used: ${[...reasons].join('; ')}`,
    hosts,
    isOwnWant: judged.some((host) => !host.isUsable && host.isOwnWant),
  }
}

async function judgeHost(
  host: string,
  domain: string,
  tlsa: TlsaLookup,
  sts: StsAnswer,
): Promise<HostTlsPolicy> {
  if (tlsa.kind === 'unavailable') {
    const { detail, isOwnWant } = tlsa
    return { isUsable: false, detail, reported: { type: 'tlsa', fault: 'dnssec-invalid' }, isOwnWant }
  }
  if (tlsa.kind === 'none') return await judgeBySts(host, domain, sts)
  if (tlsa.usable.length > 0) {
    const names = [...new Set([tlsa.base, domain])]
    const demand: TlsDemand = { tls: 'dane', tlsa: tlsa.usable, tlsNames: names, tlsPolicy: 'dane' }
    return { isUsable: true, demand, reported: { type: 'tlsa', fault: null } }
  }
  // Records that nobody can use still promise TLS (RFC 7672 §2.2); a policy beside them is not voided by them.
  const other = await judgeBySts(host, domain, sts)
  if (!other.isUsable) return other
  const demand = strongest({ tls: 'encrypted', tlsPolicy: 'dane' }, other.demand)
  return { isUsable: true, demand, reported: { type: 'tlsa', fault: 'tlsa-invalid' } }
}

async function judgeBySts(host: string, domain: string, sts: StsAnswer): Promise<HostTlsPolicy> {
  if (sts.kind === 'unavailable') {
    const { detail, isOwnWant } = sts
    return { isUsable: false, detail, reported: { type: 'sts', fault: 'sts-policy-fetch-error' }, isOwnWant }
  }
  if (sts.kind === 'none') {
    const type = sts.fault === null ? 'no-policy-found' : 'sts'
    return { isUsable: true, demand: opportunistic, reported: { type, fault: sts.fault } }
  }
  const isNamed = await isNamedByPolicy(host, sts.policy)
  const reported: ReportedPolicy = { type: 'sts', fault: isNamed ? null : 'validation-failure' }
  if (sts.policy.mode !== 'enforce') return { isUsable: true, demand: opportunistic, reported }
  if (!isNamed) {
    const detail = `the MTA-STS policy of ${domain} does not name ${host}, but ${sts.policy.mx?.join(', ')}`
    return { isUsable: false, detail, reported }
  }
  return { isUsable: true, demand: { tls: 'required', tlsNames: [host], tlsPolicy: 'mta-sts' }, reported }
}
