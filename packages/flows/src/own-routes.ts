/**
 * The installation's own routes, as the configuration has them: capture always, and the way that `VALIJA_DELIVERY` says.
 */
import { isIP } from 'node:net'
import type { ChosenRoute, ChosenSource } from './route-choice.ts'

/** An operator's relay, as `VALIJA_SMARTHOST_URL` says it. */
export interface SmarthostConfig {
  /** `smtps`: TLS from the first byte. */
  secure: boolean
  host: string
  port: number
  user: string | null
  pass: string | null
}

export interface OwnRouteOptions {
  delivery: 'capture' | 'smarthost' | 'mx'
  smarthost: SmarthostConfig | null
  /** Whether bounces have a host to go to. */
  hasBounceDomain: boolean
}

/** By name: `capture`, and `smarthost` or `mx`. What was accepted for capture never takes another one. */
export function ownRoutes({
  delivery,
  smarthost,
  hasBounceDomain,
}: OwnRouteOptions): Map<string, ChosenRoute> {
  const common = {
    id: null,
    returnPath: hasBounceDomain ? ({ kind: 'verp' } as const) : ({ kind: 'from' } as const),
    rewritesIds: false,
  }
  const routes = new Map<string, ChosenRoute>([
    ['capture', { ...common, name: 'capture', key: 'capture', way: { kind: 'capture' } }],
  ])
  if (delivery === 'mx') routes.set('mx', { ...common, name: 'mx', key: 'mx', way: { kind: 'mx' } })
  if (delivery === 'smarthost' && smarthost !== null) {
    const { secure, host, port, user, pass } = smarthost
    routes.set('smarthost', {
      ...common,
      name: 'smarthost',
      key: 'smarthost',
      way: {
        kind: 'smarthost',
        secure,
        host,
        port,
        auth: user === null ? null : { user, pass: pass ?? '' },
        // `smtps` means a verified certificate; plain `smtp` takes whatever encryption there is.
        tls: secure ? 'required' : 'opportunistic',
        isGuarded: false,
      },
    })
  }
  return routes
}

/** Sources of the configuration: `VALIJA_SOURCE_IPS`, or one that leaves the address to the system. */
export function configuredSources(addresses: readonly string[], ehloName: string): ChosenSource[] {
  const [ipv4, ipv6] = [
    addresses.filter((address) => isIP(address) === 4),
    addresses.filter((address) => isIP(address) === 6),
  ]
  const count = Math.max(1, ipv4.length, ipv6.length)
  return Array.from({ length: count }, (_, i) => {
    const [address, address6] = [ipv4[i] ?? null, ipv6[i] ?? null]
    return {
      id: null,
      name: count === 1 ? 'default' : (address ?? address6 ?? 'default'),
      address,
      address6,
      ehloName,
      // IPv6 only where somebody set it up (DESIGN 4.17), or left all to the system.
      hasIpv6: address6 !== null || addresses.length === 0,
    }
  })
}
