/**
 * What of this installation a domain's records name: the host of our bounces, the relay that its mail leaves by, the host of tracked
 * links; and the addresses that mail is sent from, as far as they are known here.
 */
import type { Sealer, Uuid } from '@valija/core'
import { createNetworkGuard, type Resolver } from '@valija/courier'
import { domainReportAddress } from '@valija/mail'
import type { PlannedSource } from '@valija/store'

export interface DomainHosts {
  /** VALIJA_BOUNCE_DOMAIN; null: the return path is the From address. */
  bounceDomain: string | null
  /** The host of VALIJA_SMARTHOST_URL, where mail leaves by it. */
  relayHost: string | null
  /** The host of VALIJA_TRACKING_URL. */
  trackingHost: string | null
  /** Where reports about a domain go, by its id; null without a host for them. */
  reportAddress: ((domainId: Uuid) => string) | null
}

export const noHosts: DomainHosts = {
  bounceDomain: null,
  relayHost: null,
  trackingHost: null,
  reportAddress: null,
}

export function readDomainHosts(
  config: {
    delivery: 'capture' | 'smarthost' | 'mx' | null
    bounceDomain: string | null
    smarthost: { host: string } | null
    trackingUrl: string | null
  },
  sealer: Pick<Sealer, 'signingKeys'>,
): DomainHosts {
  const { delivery, bounceDomain, smarthost, trackingUrl } = config
  const secret = sealer.signingKeys('return path')[0]!
  return {
    bounceDomain,
    relayHost: delivery === 'smarthost' ? (smarthost?.host ?? null) : null,
    trackingHost: trackingUrl === null ? null : new URL(trackingUrl).hostname,
    reportAddress: bounceDomain === null ? null : (id) => domainReportAddress(id, secret, bounceDomain),
  }
}

/** Who a receiving server sees. */
export interface SendingHost {
  ip: string
  ehloName: string
}

export interface SendingHostParts {
  /** Those of `/source-ips`, which go first. */
  named: () => readonly Pick<PlannedSource, 'address' | 'ipv6' | 'ehloName' | 'state'>[]
  /** VALIJA_SOURCE_IPS. */
  configured: readonly string[]
  ehloName: string
  /** A configured address that nobody outside can see is not the one that receivers see. */
  allowNetworks: readonly string[]
  resolver: Resolver
}

/**
 * The addresses that exchangers see; without any that is known, those of the EHLO name, which should be it.
 *
 * @returns empty when they cannot be known from here
 */
export async function findSendingHosts(parts: SendingHostParts): Promise<SendingHost[]> {
  const { configured, ehloName, allowNetworks, resolver } = parts
  const named = parts.named()
  if (named.length > 0) {
    return named
      .filter(({ state }) => state === 'enabled')
      .flatMap((source) =>
        [source.address, source.ipv6].flatMap((ip) =>
          ip === null ? [] : [{ ip, ehloName: source.ehloName }],
        ),
      )
  }
  const guard = createNetworkGuard([...allowNetworks])
  const seen = configured.filter((address) => guard.isAllowed(address))
  if (seen.length > 0) return seen.map((ip) => ({ ip, ehloName }))
  const answer = await resolver.resolve(ehloName, 'A')
  const own = answer.kind === 'records' ? answer.records.filter((ip) => guard.isAllowed(ip)) : []
  return own.map((ip) => ({ ip, ehloName }))
}
