/** Who counts as one of those who connect to us, where what they may do is bounded. */
import { isIPv6 } from 'node:net'

/**
 * An IPv4 address, also where it comes in the form of IPv6, or the /64 of an IPv6 one: whoever has one address of it has all of them.
 *
 * @param address as a socket tells it (RFC 4291 section 2.2)
 */
export function peerOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:') || !isIPv6(address))
    return address.replace('::ffff:', '')
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  const groups = [...before, ...new Array<string>(zeros).fill('0'), ...after]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
