/**
 * Mail servers to knock at: those of some large providers, as the DNS gives them, or those that the operator names. If the way to
 * these is open, it is open to all.
 */
import { isIP, isIPv4 } from 'node:net'
import { type Resolver, resolveMailExchangers } from '@valija/courier'
import { messageOf } from './check.ts'
import { lookUpName } from './ehlo-name.ts'
import type { Source } from './source-addresses.ts'

export interface Peer {
  host: string
  port: number
  addresses: readonly string[]
  /** The operator named it: it may be at a private address, and need not be what a large provider's would be. */
  isNamed: boolean
}

export interface PeerWish {
  host: string
  /** Null: the port of mail exchangers. */
  port: number | null
}

export interface FoundPeers {
  peers: Peer[]
  /** A sentence for each that could not be found. */
  missing: string[]
}

/** Providers with many mailboxes whose exchangers answer everybody, and always offer STARTTLS with a good certificate. */
export const largeProviders: readonly string[] = ['gmail.com', 'outlook.com', 'yahoo.com']

/**
 * @param text `host`, `host:port`, `192.0.2.1:25`, `[2001:db8::1]:25`
 * @returns null when it is none of these
 */
export function parsePeer(text: string): PeerWish | null {
  const { v6, name, port } =
    (isIP(text) === 6
      ? { v6: text }
      : /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]\s]+))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups) ?? {}
  const host = v6 ?? name
  const number = port === undefined ? null : Number(port)
  if (host === undefined || (v6 !== undefined && isIP(v6) !== 6)) return null
  return number === 0 || (number ?? 0) > 65_535 ? null : { host, port: number }
}

/** @param wishes empty: the large providers' */
export async function findPeers(
  resolver: Resolver,
  {
    providers,
    wishes,
    mxPort,
  }: { providers: readonly string[]; wishes: readonly PeerWish[]; mxPort: number },
): Promise<FoundPeers> {
  const looks = await Promise.all(
    wishes.length > 0
      ? wishes.map((wish) => namedPeer(resolver, wish, mxPort))
      : providers.map((domain) => exchangerOf(resolver, domain, mxPort)),
  )
  return {
    peers: looks.filter((look) => typeof look !== 'string'),
    missing: looks.filter((look) => typeof look === 'string'),
  }
}

async function namedPeer(
  resolver: Resolver,
  { host, port }: PeerWish,
  mxPort: number,
): Promise<Peer | string> {
  const peer = { host, port: port ?? mxPort, isNamed: true }
  if (isIP(host) !== 0) return { ...peer, addresses: [host] }
  const { addresses, unavailable } = await lookUpName(resolver, host)
  if (addresses.length > 0) return { ...peer, addresses }
  return `${host}: ${unavailable ?? 'has no address in the DNS'}`
}

async function exchangerOf(resolver: Resolver, domain: string, port: number): Promise<Peer | string> {
  const found = await resolveMailExchangers(resolver, domain)
  if (found.kind === 'null_mx') return `${domain}: takes no mail`
  if (found.kind !== 'hosts') return `${domain}: ${messageOf(found.detail)}`
  const [best] = found.hosts
  if (best === undefined) return `${domain}: has no exchanger`
  return { host: best.name, port, addresses: best.addresses, isNamed: false }
}

/** The address of a peer that a source can reach; undefined when they share no version of IP. */
export function addressFor(peer: Peer, source: Source): string | undefined {
  return peer.addresses.find((address) => isIPv4(address) === isIPv4(source.bind))
}

/** What a connection from this source binds: nothing where the system chose. */
export function bindOf({ origin, bind }: Source): string | null {
  return origin === 'system' ? null : bind
}
