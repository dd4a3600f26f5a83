/** HTTP to hosts that tenants named: webhooks and their tests. Names are asked of the resolvers that mail is sent by, if any are named. */
import { lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { createResolver } from './dns/resolver.ts'
import { createOutgoingHttp, type OutgoingHttp } from './outgoing-http.ts'
import { resolverLookup } from './tls-policy/index.ts'

/**
 * @param options.dnsServers `VALIJA_DNS_SERVERS`; empty: the system's way of looking names up, with its hosts file. A name of one
 *   label, such as a container's, is the system's in any case: the DNS has none
 */
export function openWebHttp(options: {
  allowNetworks: readonly string[]
  dnsServers: readonly string[]
}): OutgoingHttp {
  const { allowNetworks, dnsServers } = options
  if (dnsServers.length === 0) return createOutgoingHttp({ allowNetworks })
  const resolver = createResolver({ servers: dnsServers })
  const ask = resolverLookup(resolver)
  const lookup: LookupFunction = (hostname, lookupOptions, callback) =>
    hostname.replace(/\.$/, '').includes('.')
      ? ask(hostname, lookupOptions, callback)
      : (systemLookup as LookupFunction)(hostname, lookupOptions, callback)
  const http = createOutgoingHttp({ allowNetworks, lookup })
  return {
    ...http,
    close: async () => {
      await http.close()
      resolver.close()
    },
  }
}
