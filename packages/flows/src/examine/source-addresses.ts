/**
 * From which addresses mail leaves this machine, and under which names: those that the operator named, or else the one that the
 * system takes for a way to the outside.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import type { NetworkGuard } from '@valija/courier'
import { type Check, checkOf } from './check.ts'

export interface Source {
  /** As receivers see it; null when that cannot be known from here (behind a NAT). */
  address: string | null
  /** The address of this machine that it leaves from. */
  bind: string
  ehloName: string
  origin: 'VALIJA_SOURCE_IPS' | '/source-ips' | 'system'
}

/** A source as `/source-ips` has it. */
export interface NamedSource {
  address: string
  bind: string
  ipv6: string | null
  ehloName: string
  state: 'enabled' | 'paused'
}

export interface SourceParts {
  /** VALIJA_SOURCE_IPS. */
  sourceIps: readonly string[]
  named: readonly NamedSource[]
  ehloName: string
  /** What counts as outside: public addresses, and networks that the operator allows. */
  guard: NetworkGuard
  /** Addresses far away; nothing is sent to them. */
  outside: readonly string[]
}

/** Of two root servers: the way to them is the way to everybody. */
export const farAway: readonly string[] = ['198.41.0.4', '2001:503:ba3e::2:30']

/** As delivery chooses them (choose-source.ts): where /source-ips has any, exchangers see those alone. */
export async function findSources(parts: SourceParts): Promise<Source[]> {
  const { sourceIps, ehloName, guard } = parts
  const seenFrom = (address: string) => (guard.isAllowed(address) ? address : null)
  const named = parts.named
    .filter(({ state }) => state === 'enabled')
    .flatMap(({ address, bind, ipv6, ehloName: name }) => {
      const source = { address, bind, ehloName: name, origin: '/source-ips' as const }
      return ipv6 === null ? [source] : [source, { ...source, address: ipv6, bind: ipv6 }]
    })
  if (parts.named.length > 0) return named
  if (sourceIps.length > 0) {
    return sourceIps.map((bind) => ({ address: seenFrom(bind), bind, ehloName, origin: 'VALIJA_SOURCE_IPS' }))
  }
  const local = await Promise.all(parts.outside.map(localAddressTo))
  return local
    .filter((bind) => bind !== null)
    .filter((bind) => net.isIPv4(bind) || guard.isAllowed(bind))
    .map((bind) => ({ address: seenFrom(bind), bind, ehloName, origin: 'system' as const }))
}

/** The address that the system would use: a connected UDP socket has one, and sends nothing. */
async function localAddressTo(address: string): Promise<string | null> {
  const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
  try {
    socket.connect(53, address)
    await once(socket, 'connect')
    return socket.address().address
  } catch {
    return null // there is no way to the outside
  } finally {
    socket.close()
  }
}

/** Whether this machine has the address, by taking a port of it. */
export async function isBindable(address: string): Promise<boolean> {
  const server = net.createServer()
  try {
    server.listen({ host: address, port: 0, exclusive: true })
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

export interface BoundSource {
  source: Source
  isBound: boolean
}

export async function examineSources(sources: readonly Source[]): Promise<Check[]> {
  const bound = await Promise.all(
    sources.map(async (source) => ({ source, isBound: await isBindable(source.bind) })),
  )
  return judgeSources(bound)
}

export function judgeSources(all: readonly BoundSource[]): Check[] {
  const [first] = all
  if (first === undefined) {
    return [
      checkOf('source_address').failed(
        'there is no address that mail could leave from: no way to the outside, or all of /source-ips are paused',
        'Give this machine an address and a default route, or enable a source.',
      ),
    ]
  }
  if (first.source.origin === 'system') return all.map(({ source }) => judgeSystemSource(source))
  const isOneHere = all.some(({ isBound }) => isBound)
  return all.map(({ source, isBound }) => {
    const { address, bind, origin } = source
    const check = checkOf('source_address', bind)
    if (isBound) return check.ok(`this machine has it (${origin}${seenAs(source)})`)
    if (origin === '/source-ips' && isOneHere) {
      return check.skipped(
        `another machine's: this one does not have it${address === bind ? '' : ` (${address})`}`,
      )
    }
    return check.failed(
      `this machine has no such address (${origin})`,
      `Give the machine this address ("ip address add ${bind} dev …"), or remove it from ${origin}.`,
    )
  })
}

function judgeSystemSource(source: Source): Check {
  const check = checkOf('source_address', source.bind)
  if (source.address !== null) return check.ok('the way to the outside begins here')
  return check.ok(
    'the way to the outside begins here and is translated (NAT): receivers see another address, which is taken to be that of the EHLO name',
  )
}

function seenAs({ address, bind }: Source): string {
  if (address === null) return ', translated to an address that is not known here'
  return address === bind ? '' : `, seen as ${address}`
}
