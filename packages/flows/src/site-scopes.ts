/**
 * Whose limits hold for a set of exchangers (DESIGN 4.15): a provider's that the shaping data knows, wherever its customers'
 * names point; else those of the addresses that the best exchangers share, so that many names for one host are one site.
 */
import { isPublicAddress, type MxHost, type ShapingScope } from '@valija/courier'
import type { SiteScopes } from './find-destination.ts'

/** What the shaping data says of whoever receives for a domain. */
export interface KnownProvider {
  name: string
  /** Its limits hold for all its sites together, not for each. */
  isWide: boolean
  /** It takes mail over TLS only. */
  isTlsRequired: boolean
}

export type FindProvider = (question: {
  domain: string
  exchangers: readonly string[]
}) => KnownProvider | null

export function createSiteScopes(findProvider: FindProvider): SiteScopes {
  return {
    providerOf: (domain, exchangers) => findProvider({ domain, exchangers })?.name ?? null,
    isTlsRequired: (domain, exchangers) => findProvider({ domain, exchangers })?.isTlsRequired ?? false,
    scopeOf: (domain, hosts, source) => scopeOf(findProvider, domain, hosts, source),
  }
}

function scopeOf(
  findProvider: FindProvider,
  domain: string,
  hosts: readonly MxHost[],
  source: string,
): ShapingScope {
  const bestPriority = Math.min(...hosts.map(({ priority }) => priority))
  const best = hosts.filter(({ priority }) => priority === bestPriority)
  const names = best.map(({ name }) => name).sort()
  const addresses = [...new Set(best.flatMap((host) => host.addresses))].sort()
  const exchangers = hosts.map(({ name }) => name)
  const provider = findProvider({ domain, exchangers })
  const place = provider === null ? addresses.join(',') : provider.isWide ? '*' : names.join(',')
  return {
    key: `${provider?.name ?? ''} ${place} ${source}`,
    provider: provider?.name ?? null,
    site: names[0] ?? domain,
    source,
    kind: provider === null && !addresses.some(isPublicAddress) ? 'relay' : 'mx',
  }
}
