/** How many connections each peer has, so that none takes the places of all others. */
import { isIPv6 } from 'node:net'

export interface ConnectionCount {
  /** @returns false when the peer has as many as it may; then it is not counted */
  enter(address: string): boolean
  leave(address: string): void
}

/** @param most connections of one peer */
export function createConnectionCount(most: number): ConnectionCount {
  const counts = new Map<string, number>()
  return {
    enter: (address) => {
      const peer = peerOf(address)
      const count = counts.get(peer) ?? 0
      if (count >= most) return false
      counts.set(peer, count + 1)
      return true
    },
    leave: (address) => {
      const peer = peerOf(address)
      const count = counts.get(peer) ?? 0
      if (count > 1) counts.set(peer, count - 1)
      else counts.delete(peer)
    },
  }
}

/** Who it is: an IPv4 address, or the 64 bits of IPv6 that one site has to itself. */
export function peerOf(address: string): string {
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - first.length - last.length }, () => '0')
  return [...first, ...zeros, ...last].slice(0, 4).join(':')
}
