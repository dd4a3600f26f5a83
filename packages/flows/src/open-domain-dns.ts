/** What the records of sender domains are looked for with, and judged by: the same for every process that looks. */
import { hostname } from 'node:os'
import type { Sealer } from '@valija/core'
import { createResolver } from '@valija/courier'
import { findSendingHosts, readDomainHosts } from './domain-hosts.ts'
import type { RouteDirectory } from './route-directory.ts'
import type { VerifyDesk } from './verify-domain.ts'

type DomainDnsConfig = Parameters<typeof readDomainHosts>[0] & {
  dnsServers: readonly string[]
  sourceIps: readonly string[]
  /** Null: the machine's name. */
  ehloName: string | null
  allowNetworks: readonly string[]
}

/** @returns the resolver is the caller's to close; it keeps no answers: a record that was mended is to be seen */
export function openDomainDns(
  config: DomainDnsConfig,
  routes: Pick<RouteDirectory, 'present'>,
  sealer: Pick<Sealer, 'signingKeys'>,
): Pick<VerifyDesk, 'domainHosts' | 'sendingHosts'> & { resolver: ReturnType<typeof createResolver> } {
  const cache = { entries: 0, bytes: 0 }
  const resolver = createResolver({ servers: config.dnsServers, cache, namesServers: true })
  const senders = {
    named: () => routes.present.sources,
    configured: config.sourceIps,
    ehloName: config.ehloName ?? hostname(),
    allowNetworks: config.allowNetworks,
    resolver,
  }
  return {
    resolver,
    domainHosts: readDomainHosts(config, sealer),
    sendingHosts: () => findSendingHosts(senders),
  }
}
