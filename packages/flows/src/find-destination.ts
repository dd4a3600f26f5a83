/**
 * From a leased delivery and the way it takes to the peers that it goes to: the fixed one of a relay, or the exchangers of the
 * recipient's domain with what TLS each must offer and whose limits hold there.
 */
import { isIPv6 } from 'node:net'
import type { TransportFailure } from '@valija/core'
import {
  captureTarget,
  type Destination,
  type HostTlsPolicy,
  isWantOfSockets,
  type MailExchangers,
  type MxHost,
  mxDestination,
  noSocketText,
  relayDestination,
  type ShapingScope,
  type Smarthost,
  smarthostTarget,
  strongest,
  type TlsDemand,
  type TlsPolicies,
  type TlsReports,
} from '@valija/courier'
import type { LeasedDelivery } from '@valija/store'
import type { DestinationNotes } from './note-destinations.ts'
import type { ChosenRoute, ChosenSource } from './route-choice.ts'

export interface Destinations {
  /** Never rejects. */
  find(
    delivery: Pick<LeasedDelivery, 'domain' | 'requireTls' | 'reason'>,
    taken: { route: ChosenRoute; source: ChosenSource },
  ): Promise<Found>
  /** The shaping data's name for whoever receives for a domain, null for an unknown one or one that cannot be asked now. */
  providerOf(domain: string): Promise<string | null>
}

export type Found =
  | {
      ok: true
      destination: Destination
      /** What was demanded of each exchanger's TLS, and why; null for a relay. */
      policies: ReadonlyMap<string, HostTlsPolicy> | null
    }
  | { ok: false; failure: TransportFailure; detail: string }

export interface DestinationParts {
  /** `resolveMailExchangers`, bound to a resolver. */
  exchangersOf: (domain: string) => Promise<MailExchangers>
  /** The same by a resolver that keeps no answers: a second look must not be the first one remembered. */
  exchangersAgain: (domain: string) => Promise<MailExchangers>
  policies: TlsPolicies
  /** Counts the exchangers that their policy keeps from being tried. */
  tlsReports: Pick<TlsReports, 'countRefused'>
  scopes: SiteScopes
  /** Learns where a domain's mail goes. */
  notes: Pick<DestinationNotes, 'note'>
  /** Our own receiver behind the capture route; started by whoever asks first. */
  openCapture: () => Promise<{ host: string; port: number }>
  mxPort: number
}

/** Whose limits hold for a set of exchangers. */
export interface SiteScopes {
  providerOf(domain: string, exchangers: readonly string[]): string | null
  scopeOf(domain: string, hosts: readonly MxHost[], source: string): ShapingScope
  isTlsRequired(domain: string, exchangers: readonly string[]): boolean
}

/** A destination is put together once for the mails of a domain that come within so many milliseconds. */
const rememberedMs = 5_000
const rememberedCount = 10_000

export function createDestinations(parts: DestinationParts): Destinations {
  const remembered = new Map<string, { found: Promise<Found>; untilMs: number }>()
  const forget = (key: string, found: Promise<Found>) => {
    if (remembered.get(key)?.found === found) remembered.delete(key)
  }
  const findByMx = (delivery: Asked, taken: Taken): Promise<Found> => {
    const key = `${delivery.domain} ${taken.route.key} ${taken.source.name} ${delivery.requireTls}`
    const known = remembered.get(key)
    if (known !== undefined && known.untilMs > performance.now()) return known.found
    // What failed is the resolver's to remember: it knows for how long.
    const found = look(parts, parts.exchangersOf, delivery, taken).then((result) => {
      if (!result.ok) forget(key, found)
      return result
    })
    found.catch(() => forget(key, found))
    remembered.delete(key)
    remembered.set(key, { found, untilMs: performance.now() + rememberedMs })
    const oldest = remembered.size > rememberedCount ? remembered.keys().next().value : undefined
    if (oldest !== undefined) remembered.delete(oldest)
    return found
  }
  return {
    find: async (delivery, taken) => {
      const { way } = taken.route
      if (way.kind === 'capture') return findCapture(parts, taken)
      if (way.kind === 'smarthost') {
        return { ok: true, destination: relayOf(taken, way, delivery.requireTls), policies: null }
      }
      const isSecondLook = delivery.reason === 'domain_unknown'
      const found = await (isSecondLook
        ? look(parts, parts.exchangersAgain, delivery, taken)
        : findByMx(delivery, taken))
      // A second look, later than the first, has found nothing either.
      const isConfirmed = isSecondLook && !found.ok && found.failure === 'name_doubtful'
      return isConfirmed ? { ...found, failure: 'name_unknown' } : found
    },
    providerOf: async (domain) => {
      const exchangers = await parts.exchangersOf(domain)
      if (exchangers.kind !== 'hosts') return null
      return parts.scopes.providerOf(
        domain,
        exchangers.hosts.map(({ name }) => name),
      )
    },
  }
}

async function findCapture({ openCapture }: DestinationParts, { route, source }: Taken): Promise<Found> {
  try {
    const target = captureTarget(await openCapture(), source.ehloName)
    return { ok: true, destination: relayDestination(target, route.key, source.name), policies: null }
  } catch (error) {
    const detail = `the capture receiver: ${(error as Error).message}`
    return isWantOfSockets(error as NodeJS.ErrnoException)
      ? noSocket(detail)
      : { ok: false, failure: 'connection_refused', detail }
  }
}

function relayOf({ route, source }: Taken, way: Smarthost, requireTls: boolean): Destination {
  const from = { route: route.name, ehloName: source.ehloName, localAddress: source.address }
  const target = smarthostTarget(way, from)
  const isRaised = requireTls && target.tls === 'opportunistic'
  return relayDestination(isRaised ? { ...target, tls: 'required' } : target, route.key, source.name)
}

type Taken = { route: ChosenRoute; source: ChosenSource }
type Asked = { domain: string; requireTls: boolean }

async function look(
  parts: DestinationParts,
  exchangersOf: DestinationParts['exchangersOf'],
  asked: Asked,
  taken: Taken,
): Promise<Found> {
  return findExchangers(parts, asked, taken, await exchangersOf(asked.domain))
}

async function findExchangers(
  parts: DestinationParts,
  { domain, requireTls }: Asked,
  { route, source }: Taken,
  exchangers: MailExchangers,
): Promise<Found> {
  if (exchangers.kind !== 'hosts') return noExchangers(domain, exchangers)
  const policy = await parts.policies.policyFor(domain, exchangers)
  for (const [host, judged] of policy.hosts) {
    if (!judged.isUsable && !judged.isOwnWant) parts.tlsReports.countRefused(domain, host, judged)
  }
  if (policy.kind === 'unavailable') {
    return policy.isOwnWant ? noSocket(policy.detail) : { ok: false, failure: 'tls', detail: policy.detail }
  }
  const scope = parts.scopes.scopeOf(domain, exchangers.hosts, source.name)
  const names = exchangers.hosts.map(({ name }) => name)
  const least = leastDemand(requireTls, parts.scopes.isTlsRequired(domain, names))
  const hosts = exchangers.hosts.flatMap((host) => {
    const judged = policy.hosts.get(host.name)
    return judged?.isUsable ? [{ host, demand: strongest(judged.demand, least) }] : []
  })
  if (!source.hasIpv6 && hosts.every(({ host }) => host.addresses.every(isIPv6))) {
    const detail = `the exchangers of ${domain} have IPv6 addresses only, and mail leaves from IPv4 here`
    return { ok: false, failure: 'name_unavailable', detail }
  }
  const destination = mxDestination({
    route: route.name,
    port: parts.mxPort,
    source,
    scope,
    hosts,
  })
  parts.notes.note(domain, scope, names)
  return { ok: true, destination, policies: policy.hosts }
}

function noExchangers(domain: string, answer: Exclude<MailExchangers, { kind: 'hosts' }>): Found {
  if (answer.kind === 'null_mx') {
    return { ok: false, failure: 'null_mx', detail: `${domain} says that it takes no mail (null MX).` }
  }
  if (answer.kind === 'unavailable') {
    const { isOwnWant, detail } = answer
    return isOwnWant ? noSocket(detail) : { ok: false, failure: 'name_unavailable', detail }
  }
  return { ok: false, failure: answer.isConfirmed ? 'name_unknown' : 'name_doubtful', detail: answer.detail }
}

/** The receiver, and its DNS, have not been asked. */
function noSocket(detail: string): Found {
  return { ok: false, failure: 'no_socket', detail: noSocketText(detail) }
}

/** What the message and the provider ask for, whatever the domain promises. */
function leastDemand(requireTls: boolean, isTlsRequired: boolean): TlsDemand {
  if (requireTls) return { tls: 'required', tlsPolicy: 'required' }
  return { tls: isTlsRequired ? 'encrypted' : 'opportunistic' }
}
