/** The name under which the DNS keeps the name of an address, for PTR questions. */
import ipaddr from 'ipaddr.js'

/**
 * RFC 1035 §3.5 for IPv4, RFC 3596 §2.5 for IPv6.
 *
 * @param ip an address in its usual form; null comes back for anything else
 */
export function reverseName(ip: string): string | null {
  if (ipaddr.IPv4.isValidFourPartDecimal(ip)) return `${ip.split('.').reverse().join('.')}.in-addr.arpa`
  if (ip.includes('%') || !ipaddr.IPv6.isValid(ip)) return null
  const digits = Buffer.from(ipaddr.IPv6.parse(ip).toByteArray()).toString('hex')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}
