/**
 * The way out to port 25, from each address that mail leaves from: connect, read the greeting, QUIT. Most clouds and home lines
 * close it, and some receivers turn an address away in the greeting already.
 */
import { type GreetingLimits, type GreetingResult, type NetworkGuard, readGreeting } from '@valija/courier'
import { formatSmtpReply } from '@valija/mail'
import { type Check, checkOf } from './check.ts'
import { addressFor, bindOf, type FoundPeers, type Peer } from './mail-peers.ts'
import type { Source } from './source-addresses.ts'

export interface Knock {
  peer: Peer
  result: GreetingResult
}

/** Receivers that keep a new address waiting with their greeting do so for up to six seconds. */
const usualLimits: GreetingLimits = { connectMs: 5_000, greetingMs: 8_000 }
/** As many sources as are tried: a network that closes the port closes it for all. */
const maxSources = 20

export async function examinePort25(
  sources: readonly Source[],
  found: FoundPeers,
  guard: NetworkGuard,
  limits = usualLimits,
): Promise<Check[]> {
  if (found.peers.length === 0) {
    const fix = 'See the resolver; or name a mail server that takes connections: doctor --connect <host>.'
    return [
      checkOf('port_25').warning(
        `not tried: no mail server could be found to connect to: ${found.missing.join('; ')}`,
        fix,
      ),
    ]
  }
  return Promise.all(
    sources.slice(0, maxSources).map(async (source) => {
      const knocks = await Promise.all(found.peers.map((peer) => knock(peer, source, { guard, limits })))
      return judgeKnocks(
        source,
        knocks.filter((one) => one !== null),
      )
    }),
  )
}

async function knock(
  peer: Peer,
  source: Source,
  { guard, limits }: { guard: NetworkGuard; limits: GreetingLimits },
): Promise<Knock | null> {
  const ip = addressFor(peer, source)
  if (ip === undefined) return null
  const { host, port, isNamed } = peer
  const target = { host, ip, port, localAddress: bindOf(source), isExemptFromGuard: isNamed }
  return { peer, result: await readGreeting(target, guard, limits) }
}

export function judgeKnocks(source: Source, knocks: readonly Knock[]): Check {
  const check = checkOf('port_25', source.bind)
  const told = knocks.map(tell)
  const isOpen = (knock: Knock) => knock.result.kind === 'greeted' && knock.result.reply.code < 400
  if (knocks.length === 0) return check.skipped('none of the servers has an address of this version of IP')
  if (knocks.every(isOpen)) return check.ok(told.join('; '))
  if (knocks.every(({ result }) => result.kind === 'unreachable')) {
    return check.failed(
      `no connection goes out: ${told.join('; ')}`,
      'Ask whoever runs this network to open outgoing port 25 (most clouds do on request), open it in your own firewall, or send through a relay: VALIJA_DELIVERY=smarthost.',
    )
  }
  const refusal = knocks.find(({ result }) => result.kind === 'greeted' && result.reply.code >= 400)
  const seen = told.join('; ')
  if (knocks.some(isOpen)) {
    return check.warning(
      seen,
      refusal === undefined
        ? 'The way is open to others: look whether a firewall singles this one out, and run this again.'
        : `${refusal.peer.host} turns this address away: follow what its reply says, and look at the blocklists below.`,
    )
  }
  return check.failed(
    seen,
    refusal === undefined
      ? 'Something between here and the servers takes the connections and does not answer as they do: a firewall or a transparent proxy for port 25. Have it removed for this machine.'
      : 'Follow what the replies say: mostly the address is on a blocklist, or has no name (PTR).',
  )
}

function tell({ peer, result }: Knock): string {
  const where = `${peer.host}:${peer.port}`
  if (result.kind === 'unreachable') return `${where} cannot be reached (${result.detail})`
  if (result.kind === 'mute') return `${where}: ${result.detail}`
  if (result.reply.code < 400) return `${where} greets in ${Math.round(result.durationMs)} ms`
  return `${where} refuses: ${formatSmtpReply(result.reply)}`
}
