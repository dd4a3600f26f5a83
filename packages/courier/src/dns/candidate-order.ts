/** In which order the addresses of a domain's exchangers are tried (RFC 5321 §5.1). */
import { isIPv6 } from 'node:net'
import type { MxHost } from './mail-exchangers.ts'

export interface MxCandidate {
  host: MxHost
  address: string
}

/**
 * By priority; hosts of one priority in a random order, and each host's addresses one after the other. IPv4 and IPv6 alternate,
 * so that where one of them leads nowhere the very next address is of the other. IPv4 begins: receivers judge mail over IPv6
 * more harshly, and a broken IPv6 then costs nothing.
 *
 * @param random at least 0, less than 1, as `Math.random`
 * @param ipv6 whether the source can speak it; without, hosts that only have IPv6 are left out, so the list may be empty
 */
export function orderCandidates(
  hosts: readonly MxHost[],
  random: () => number,
  { ipv6 }: { ipv6: boolean },
): MxCandidate[] {
  return shuffle(hosts, random)
    .sort((a, b) => a.priority - b.priority)
    .flatMap((host) => {
      const v4 = host.addresses.filter((address) => !isIPv6(address))
      const v6 = ipv6 ? host.addresses.filter(isIPv6) : []
      return alternate(v4, v6).map((address) => ({ host, address }))
    })
}

/** Fisher and Yates; a stable sort by priority afterwards leaves each priority shuffled. */
function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const mixed = [...items]
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1))
    const held = mixed[last] as T
    mixed[last] = mixed[other] as T
    mixed[other] = held
  }
  return mixed
}

function alternate(first: readonly string[], second: readonly string[]): string[] {
  const mixed: string[] = []
  for (let at = 0; at < Math.max(first.length, second.length); at += 1) {
    mixed.push(...first.slice(at, at + 1), ...second.slice(at, at + 1))
  }
  return mixed
}
