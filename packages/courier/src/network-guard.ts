/**
 * The one guard against private addresses and this machine's own, for webhooks, mailboxes, mail exchangers and every other host that
 * somebody else names.
 *
 * It judges addresses, never names: a name is looked up once, every address that comes back is judged, and the connection goes
 * to a judged address, so that a name cannot mean something else a moment later (DNS rebinding). Refused is all that
 * is not globally routable unicast, including the IPv6 forms that carry an IPv4 address (mapped, 6to4, Teredo, NAT64).
 */
import { lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'

export interface NetworkGuard {
  /** @param address an IPv4 or IPv6 literal without brackets; anything else is refused */
  isAllowed(address: string): boolean
}

type Lookup = typeof systemLookup | LookupFunction

/** All that IANA has given out as global unicast; outside are also `::a.b.c.d` and whatever comes to carry IPv4 next. */
const globalUnicast = ipaddr.parseCIDR('2000::/3')

/** Unicast to ipaddr.js, but documentation (RFC 9637) and the anycast relays of 6to4 (RFC 7526) to IANA. */
const alsoRefused = ['3fff::/20', '192.88.99.0/24'].map((cidr) => ipaddr.parseCIDR(cidr))

/**
 * Whether an address is globally routable unicast (IANA special-purpose registries, RFC 6890).
 *
 * @param address an IP literal in its usual form; `::ffff:a.b.c.d` counts as `a.b.c.d`; a zone index is refused
 */
export function isPublicAddress(address: string): boolean {
  const ip = parse(address)
  if (ip === null || (ip.kind() === 'ipv6' && !isWithin(ip, globalUnicast))) return false
  return ip.range() === 'unicast' && !alsoRefused.some((net) => isWithin(ip, net))
}

/**
 * @param allowNetworks CIDRs that are let through although they are private, such as `10.1.0.0/16` or `fd00::/8`
 * @param ownAddresses this machine's: refused even where they are public, because what listens beside us may trust whoever comes
 *   from here, and our own listeners are no exchanger
 * @throws {Error} when one is not a CIDR
 */
export function createNetworkGuard(
  allowNetworks: readonly string[],
  ownAddresses: () => readonly string[] = () => [],
): NetworkGuard {
  const allowed = allowNetworks.map((cidr) => ipaddr.parseCIDR(cidr))
  return {
    isAllowed(address) {
      const ip = parse(address)
      if (ip === null) return false
      if (allowed.some((net) => isWithin(ip, net))) return true
      return isPublicAddress(address) && !ownAddresses().some((own) => isSame(ip, parse(own)))
    },
  }
}

/** This machine's addresses at this moment, for `ownAddresses`. */
export function localAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) => entries?.map(({ address }) => address) ?? [])
}

/** What is told of an address that the guard refuses. */
export function refusalText(address: string): string {
  return `the address ${address} is private or reserved, or this machine’s own, and not among the allowed networks (VALIJA_ALLOW_NETWORKS)`
}

/** The guard's refusal, as an error of a connection attempt. */
export class AddressRefused extends Error {
  readonly code = 'EADDRESSREFUSED'

  constructor(address: string) {
    super(refusalText(address))
  }
}

/**
 * A `lookup` for `net.connect` whose answer the guard has seen. One refused address refuses the name: nobody serves the public
 * from a private and a public address at once.
 */
export function guardLookup(guard: NetworkGuard, lookup: Lookup = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    ;(lookup as LookupFunction)(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '', 0)
      const list = typeof found === 'string' ? [{ address: found, family: 0 }] : found
      const refused = list.find((entry) => !guard.isAllowed(entry.address))
      if (refused !== undefined) return callback(new AddressRefused(refused.address), '', 0)
      const first = list[0]
      if (first === undefined) {
        return callback(Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' }), '', 0)
      }
      if (options.all) return callback(null, list)
      callback(null, first.address, first.family)
    })
  }
}

/** Strict: `127.1`, `0x7f.1` and octal digits are not addresses here, so nothing can mean two things. */
function parse(address: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return ipaddr.IPv4.parse(address)
  if (address.includes('%') || !ipaddr.IPv6.isValid(address)) return null
  const ip = ipaddr.IPv6.parse(address)
  return ip.isIPv4MappedAddress() ? ip.toIPv4Address() : ip
}

function isSame(ip: ipaddr.IPv4 | ipaddr.IPv6, other: ipaddr.IPv4 | ipaddr.IPv6 | null): boolean {
  return other !== null && ip.toNormalizedString() === other.toNormalizedString()
}

function isWithin(ip: ipaddr.IPv4 | ipaddr.IPv6, net: [ipaddr.IPv4 | ipaddr.IPv6, number]): boolean {
  return ip.kind() === net[0].kind() && ip.match(net)
}
