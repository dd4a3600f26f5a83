/** How many connections each peer has, so that none takes the places of all others. */
import { peerOf } from '@valija/core'

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
