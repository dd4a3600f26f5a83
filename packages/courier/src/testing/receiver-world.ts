/**
 * A receiving domain as the world sees it, for tests of TLS policies: a DNS server, an HTTPS policy host, and what keeps
 * policies, all of them real but the last, and a clock that the test turns.
 */
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import { type PolicyHost, startPolicyHost } from '../../../../tests/support/policy-host.ts'
import { createResolver } from '../dns/resolver.ts'
import { createOutgoingHttp } from '../outgoing-http.ts'
import type { StoredStsPolicy, StsPolicyCache } from '../tls-policy/mta-sts.ts'
import { resolverLookup } from '../tls-policy/resolver-lookup.ts'
import type { TlsPolicyParts } from '../tls-policy/tls-policies.ts'

export interface ReceiverWorld {
  dns: DnsServer
  host: PolicyHost
  kept: KeptPolicies
  /** For another worker of the same installation, with a memory of its own. */
  parts(): TlsPolicyParts & { port: number; nowMs: () => number; policyPort: number }
  /** Turns the clock of all its workers. */
  pass(milliseconds: number): void
  close(): Promise<void>
}

/** Less than policies are remembered without a look into the store. */
export const ttlSeconds = 30

/** `domain` has an exchanger mx.<domain> and publishes a policy by the id `1`; what it says is up to `host.answer`. */
export async function openReceiverWorld(domain = 'example.com'): Promise<ReceiverWorld> {
  let now = 1_000_000_000
  const nowMs = () => now
  const host = await startPolicyHost([`mta-sts.${domain}`])
  const dns = await startDnsServer({
    ttl: ttlSeconds,
    negativeTtl: ttlSeconds,
    records: {
      [domain]: { MX: [`10 mx.${domain}`] },
      [`mx.${domain}`]: { A: ['127.0.0.1'] },
      [`mta-sts.${domain}`]: { A: ['127.0.0.1'] },
      [`_mta-sts.${domain}`]: { TXT: ['v=STSv1; id=1;'] },
    },
  })
  const kept = new KeptPolicies(nowMs)
  const closers: (() => unknown)[] = [host.close, () => dns.stop()]
  return {
    dns,
    host,
    kept,
    parts: () => {
      const resolver = createResolver({
        servers: [dns.address],
        trustsAd: true,
        timeoutMs: 3_000,
        now: nowMs,
      })
      const lookup = resolverLookup(resolver)
      const http = createOutgoingHttp({ allowNetworks: ['127.0.0.0/8'], lookup, ca: host.ca })
      closers.push(
        () => http.close(),
        () => resolver.close(),
      )
      return { resolver, http, cache: kept, port: 25, policyPort: host.port, nowMs }
    },
    pass: (milliseconds) => {
      now += milliseconds
    },
    close: async () => {
      for (const close of closers.reverse()) await close()
    },
  }
}

/** Policies as they are stored for all workers, by the test's clock. The real store has its own tests, and one with all of this. */
export class KeptPolicies implements StsPolicyCache {
  readonly rows = new Map<string, StoredStsPolicy & { savedAtMs: number }>()
  /** Set, every access fails with it. */
  trouble: Error | null = null
  reads = 0
  private readonly nowMs: () => number

  constructor(nowMs: () => number) {
    this.nowMs = nowMs
  }

  async find(domain: string): Promise<StoredStsPolicy | null> {
    this.reads += 1
    if (this.trouble !== null) throw this.trouble
    const row = this.rows.get(domain)
    if (row === undefined) return null
    const ageMs = this.nowMs() - row.savedAtMs
    return ageMs < row.maxAgeSeconds * 1000 ? { ...row, ageMs } : null
  }

  async save(domain: string, policy: { id: string; text: string; maxAgeSeconds: number }): Promise<void> {
    if (this.trouble !== null) throw this.trouble
    this.rows.set(domain, { ...policy, ageMs: 0, savedAtMs: this.nowMs() })
  }
}
