/** Looks at PostgreSQL and at what is kept there, for the checks that need it. Never rejects. */
import { createSealer, type Sealer } from '@valija/core'
import {
  type Database,
  listSources,
  openDatabase,
  readInstallationFacts,
  readRoutePlan,
  readServerFacts,
} from '@valija/store'
import { readWay } from '../route-candidates.ts'
import type { Check } from './check.ts'
import type { InstallationLook, ServerLook } from './database.ts'
import type { NamedRelay } from './smarthost.ts'
import type { NamedSource } from './source-addresses.ts'

/** Where the database is, or why there is none to look at. */
export type DatabasePlace = { kind: 'url'; url: string } | { kind: 'absent'; check: Check }

export interface StoredState {
  server: ServerLook
  installation: InstallationLook
  sources: readonly NamedSource[]
  /** A named route goes straight to exchangers, whatever VALIJA_DELIVERY says of the others. */
  hasMxRoutes: boolean
  /** Of named routes that are in use. */
  relays: readonly NamedRelay[]
}

/** In all: a server that hangs must not keep the other parts from being looked at. */
const limitMs = 7_000
/** As many sources as are looked at: whoever has more has them alike. */
const maxSources = 100
const maxRelays = 20

const absent = { installation: { kind: 'absent' }, sources: [], hasMxRoutes: false, relays: [] } as const

export async function lookAtStored(
  place: DatabasePlace,
  secretKeys: readonly string[],
): Promise<StoredState> {
  if (place.kind === 'absent') return { server: place, ...absent }
  const { promise: late, resolve } = Promise.withResolvers<StoredState>()
  const unreachable = (error: unknown): StoredState => ({ server: { kind: 'unreachable', error }, ...absent })
  const timer = setTimeout(
    () => resolve(unreachable(new Error(`it took more than ${limitMs / 1000} s`))),
    limitMs,
  )
  try {
    return await Promise.race([look(place.url, secretKeys), late])
  } catch (error) {
    return unreachable(error)
  } finally {
    clearTimeout(timer)
  }
}

async function look(url: string, secretKeys: readonly string[]): Promise<StoredState> {
  const server = await readServerFacts(url).then(
    (facts): ServerLook => ({ kind: 'facts', facts }),
    (error: unknown): ServerLook => ({ kind: 'unreachable', error }),
  )
  const isReadable = server.kind === 'facts' && server.facts.migrations.pending.length === 0
  if (!isReadable) return { server, ...absent }
  // A broken idle connection is nobody's matter here: queries reject by themselves.
  const database = openDatabase({ url, onError: () => undefined })
  try {
    return { server, ...(await readOwnTables(database, secretKeys)) }
  } finally {
    await database.close()
  }
}

async function readOwnTables(
  database: Database,
  secretKeys: readonly string[],
): Promise<Omit<StoredState, 'server'>> {
  try {
    const sealer = secretKeys.length > 0 ? createSealer(secretKeys) : null
    const facts = await readInstallationFacts(database, sealer)
    const sources = await listSources(database, { after: null, limit: maxSources })
    return {
      installation: { kind: 'facts', facts },
      sources,
      hasMxRoutes: facts.mxRoutes > 0,
      relays: sealer === null ? [] : await readRelays(database, sealer),
    }
  } catch (error) {
    return { ...absent, installation: { kind: 'unreadable', error } }
  }
}

/** Without those whose password cannot be opened: `secret_key` tells of them. */
async function readRelays(database: Database, sealer: Sealer): Promise<NamedRelay[]> {
  const { routes } = await readRoutePlan(database.engine)
  return routes
    .filter(({ kind, state }) => kind === 'smarthost' && state === 'enabled')
    .slice(0, maxRelays)
    .flatMap((route) => {
      const way = readWay({ sealer, onError: () => undefined }, route)
      return way?.kind === 'smarthost' ? { name: route.name, isTenants: route.tenantId !== null, way } : []
    })
}
