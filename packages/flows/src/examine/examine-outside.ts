/** What the world must be to us, and we to the world. */
import { createNetworkGuard, type NetworkGuard, type Resolver } from '@valija/courier'
import { getDomain } from 'tldts'
import { askBlocklists, judgeBlocklists, subjectsOf } from './blocklists.ts'
import { examineBounceDomain } from './bounce-domain.ts'
import { type Check, checkOf, examined } from './check.ts'
import { addressesSeen, examineNames, lookUpName } from './ehlo-name.ts'
import type { ExaminedInstallation, World } from './examined-installation.ts'
import { findPeers } from './mail-peers.ts'
import { examinePort25 } from './port-25.ts'
import { askServers, judgeServers } from './resolver.ts'
import { examineNamedRelays, examineSmarthost } from './smarthost.ts'
import { examineSources, findSources, type Source } from './source-addresses.ts'
import { examineStarttls } from './starttls.ts'
import type { StoredState } from './stored-state.ts'

export interface OutsideParts {
  installation: ExaminedInstallation
  world: World
  stored: Promise<StoredState>
  resolver: Resolver
}

type Part = Promise<readonly Check[]>

export function examineOutside(parts: OutsideParts): Part[] {
  const { installation, world } = parts
  const { delivery, dnsServers } = installation
  const resolvers =
    delivery === 'capture'
      ? skippedPart('resolver', whyNotMx(delivery))
      : examined('resolver', async () =>
          judgeServers(await askServers(dnsServers, world.questions), delivery === 'mx'),
        )
  return [resolvers, ...examineMx(parts), examineRelay(installation), examineRoutes(parts)]
}

const skippedPart = (name: string, why: string): Part => Promise.resolve([checkOf(name).skipped(why)])

function whyNotMx(delivery: ExaminedInstallation['delivery']): string {
  if (delivery === 'capture') return 'capture keeps mail on this machine'
  if (delivery === null) return 'VALIJA_DELIVERY is not set'
  return 'the relay speaks to the receivers, with its own name and address'
}

/** What matters where we speak to the receivers ourselves. */
function examineMx({ installation, world, stored, resolver }: OutsideParts): Part[] {
  const guard = createNetworkGuard(installation.allowNetworks)
  const sources = stored.then(({ sources: named }) =>
    findSources({ ...installation, named, guard, outside: world.outside }),
  )
  const isRouted = stored.then(({ hasMxRoutes }) => installation.delivery === 'mx' || hasMxRoutes)
  const part = (name: string, work: () => Promise<readonly Check[]>): Part =>
    examined(name, async () =>
      (await isRouted) ? work() : [checkOf(name).skipped(whyNotMx(installation.delivery))],
    )
  const found = isRouted.then(async (isWanted) =>
    isWanted
      ? findPeers(resolver, { providers: world.providers, wishes: world.peers, mxPort: installation.mxPort })
      : { peers: [], missing: [] },
  )
  // Shared by several parts, each of which tells if it fails.
  for (const shared of [sources, isRouted, found]) shared.catch(() => undefined)
  return [
    part('source_address', async () => examineSources(await sources)),
    part('ehlo_name', async () => examineNames(resolver, await sources)),
    part('port_25', async () => examinePort25(await sources, await found, guard)),
    part('starttls', async () =>
      examineStarttls({ peers: (await found).peers, sources: await sources, guard, ca: world.ca }),
    ),
    part('blocklist', async () => lookUpBlocklists({ resolver, world, guard }, await sources)),
    part('bounce_domain', async () =>
      examineBounceDomain(resolver, installation.bounceDomain, { guard, mxPort: installation.mxPort }),
    ),
  ]
}

async function lookUpBlocklists(
  { resolver, world, guard }: { resolver: Resolver; world: World; guard: NetworkGuard },
  sources: readonly Source[],
): Promise<Check[]> {
  const names = [...new Set(sources.map(({ ehloName }) => ehloName))]
  const seen = await Promise.all(
    names.map(async (name) =>
      addressesSeen(
        sources.filter(({ ehloName }) => ehloName === name),
        await lookUpName(resolver, name),
      ),
    ),
  )
  const addresses = seen.flat().filter((address) => guard.isAllowed(address))
  const subjects = subjectsOf(addresses, names, getDomain)
  return judgeBlocklists(await askBlocklists(resolver, world.blocklists, subjects), subjects)
}

function examineRelay({ delivery, smarthost, ehloName, sourceIps }: ExaminedInstallation): Part {
  if (delivery !== 'smarthost') return skippedPart('smarthost', `VALIJA_DELIVERY is ${delivery ?? 'not set'}`)
  return examined('smarthost', () =>
    examineSmarthost(smarthost, { ehloName, localAddress: sourceIps[0] ?? null }),
  )
}

/** Under capture as well: a mail or its key may name them. */
function examineRoutes({ installation, stored }: OutsideParts): Part {
  const { ehloName, sourceIps, allowNetworks } = installation
  return examined('route', async () => {
    const { relays, installation: seen } = await stored
    if (seen.kind !== 'facts') return [checkOf('route').skipped('what is stored cannot be read')]
    if (relays.length === 0) return [checkOf('route').skipped('no named route leads to a relay')]
    const from = { ehloName, localAddress: sourceIps[0] ?? null }
    return examineNamedRelays(relays, from, createNetworkGuard(allowNetworks))
  })
}
