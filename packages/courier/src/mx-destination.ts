/**
 * The destination of a domain's own mail exchangers: which hosts in which order, under which TLS demand each, and whose limits
 * hold for them.
 */
import { isIPv6 } from 'node:net'
import type { Destination, SessionPeer, ShapingScope } from './destination.ts'
import { orderCandidates } from './dns/candidate-order.ts'
import type { MxHost } from './dns/mail-exchangers.ts'
import type { TlsDemand } from './tls-policy/index.ts'

/** The part of a target that is the same for all exchangers of a destination. */
export interface MxSource {
  /** Name of the source address, `default` when the system chooses. */
  name: string
  /** IPv4 address to bind; null leaves it to the system. */
  address: string | null
  /** The same for IPv6. */
  address6: string | null
  ehloName: string
  hasIpv6: boolean
}

export interface MxDestinationParts {
  route: string
  port: number
  source: MxSource
  scope: ShapingScope
  /** At least one. */
  hosts: readonly { host: MxHost; demand: TlsDemand }[]
  /** The peers may be at addresses that the guard would refuse: an operator's route. */
  isExemptFromGuard?: boolean
  random?: () => number
}

/** RFC 5321 §5.1 lets a client bound the number of addresses it tries; ten hosts of two addresses are more than any provider has. */
const maxCandidates = 20

export function mxDestination(parts: MxDestinationParts): Destination {
  const { route, port, source, scope, hosts } = parts
  const demands = new Map(hosts.map(({ host, demand }) => [host.name, demand]))
  const list = hosts.map(({ host }) => host)
  const best = Math.min(...list.map(({ priority }) => priority))
  const shareKeyOf = ({ host, ip }: SessionPeer): string | null => {
    const demand = demands.get(host)
    if (demand === undefined) return null
    return [route, source.name, nameOf(demand, host), ip, port].join(' ')
  }
  const bestShareKeys = new Set(
    list
      .filter(({ priority }) => priority === best)
      .flatMap(({ name, addresses }) => addresses.map((ip) => shareKeyOf({ host: name, ip }) ?? '')),
  )
  return {
    key: [
      'mx',
      scope.key,
      route,
      source.name,
      port,
      ...hosts.map(({ host, demand }) => `${host.priority - best} ${host.name} ${nameOf(demand, host.name)}`),
    ].join(' '),
    scope,
    candidates: () =>
      orderCandidates(list, parts.random ?? Math.random, { ipv6: source.hasIpv6 })
        .slice(0, maxCandidates)
        .map(({ host, address: ip }) => ({
          route,
          host: host.name,
          ip,
          port,
          secure: false,
          auth: null,
          ehloName: source.ehloName,
          localAddress: isIPv6(ip) ? source.address6 : source.address,
          isExemptFromGuard: parts.isExemptFromGuard ?? false,
          ...(demands.get(host.name) ?? { tls: 'opportunistic' }),
        })),
    shareKeyOf,
    bestShareKeys: () => bestShareKeys,
  }
}

/**
 * What of a demand makes sessions differ: where the certificate's name is judged, a session is to a name, and to those of the
 * recipient's domain that may stand in for it; else it is to an address, whatever that is called.
 */
function nameOf({ tls, tlsa, tlsNames }: TlsDemand, host: string): string {
  if (tls === 'opportunistic' || tls === 'encrypted') return tls
  // DANE-EE(3) looks at no name (RFC 7672 §3.1.1).
  const isByKey = tls === 'dane' && tlsa?.every(({ usage }) => usage === 3)
  return `${tls} ${[host, ...(isByKey ? [] : (tlsNames ?? []))].join(',')}`
}
