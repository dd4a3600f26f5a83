/** The resolvers to ask, from the operator's list or the system's. */
import dns from 'node:dns'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

export interface DnsServerAddress {
  ip: string
  port: number
  /** Whether its AD flag is believed. */
  isTrusted: boolean
}

const DNS_PORT = 53

/** `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`. */
const PATTERN = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+))(?::(?<port>\d+))?$/

/**
 * AD is worth what the path to the resolver is worth (RFC 4035 §4.9.3). It is believed from this machine's own resolver, and from
 * those that the operator named: with them the operator vouches for the path.
 *
 * @param servers empty: the system's
 * @param trustsAd overrules that rule for all servers
 * @throws {Error} when one is not an address
 */
export function serverList(servers: readonly string[], trustsAd?: boolean): DnsServerAddress[] {
  const isNamed = servers.length > 0
  const list = (isNamed ? servers : dns.getServers()).map((text) => {
    const { v6, v4, port } = isIP(text) === 6 ? { v6: text } : (PATTERN.exec(text)?.groups ?? {})
    const ip = v6 ?? v4 ?? ''
    const number = Number(port ?? DNS_PORT)
    if (isIP(ip) === 0 || number < 1 || number > 65_535) {
      throw new Error(
        `a DNS server is an address such as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53, not "${text}"`,
      )
    }
    return { ip, port: number, isTrusted: trustsAd ?? (isNamed || isLoopback(ip)) }
  })
  return list.filter(
    (one, at) => list.findIndex((other) => other.ip === one.ip && other.port === one.port) === at,
  )
}

function isLoopback(ip: string): boolean {
  const [plain = ''] = ip.split('%')
  return ipaddr.isValid(plain) && ipaddr.process(plain).range() === 'loopback'
}
