/**
 * All named routes, lists and sources in this process's memory, read anew when somebody changed them (wake topic `routes`) and, to
 * be safe, every minute: nothing on the way of a mail asks PostgreSQL which route it takes.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { RouteListEntry, Stream, Uuid } from '@valija/core'
import {
  type Database,
  type PlannedRoute,
  type PlannedSource,
  type RouteHealth,
  type RoutePlan,
  readRoutePlan,
  type Wake,
} from '@valija/store'
import { createSleeper } from './sleeper.ts'

export interface RouteDirectory {
  /** What is known now. */
  readonly present: RouteIndex
  /** Reads it again. Rejects when PostgreSQL cannot be asked. */
  read(): Promise<void>
  /** The same, for a name that may have been given a moment ago; not often, however often it is asked for. */
  refresh(): Promise<void>
  /** Calls `listener` after every reading. */
  onRead(listener: () => void): () => void
  close(): Promise<void>
}

/** A plan, ready to be asked. */
export interface RouteIndex {
  readonly hasLists: boolean
  readonly sources: readonly PlannedSource[]
  readonly health: readonly RouteHealth[]
  /** Routes whose mail waits: paused by somebody, down, or refusing us. */
  readonly unusable: readonly UnusableRoute[]
  /** The tenant's route of that name, else the operator's. */
  find(tenantId: Uuid, name: string): PlannedRoute | null
  /** The names that a tenant's mail may ask for. */
  namesFor(tenantId: Uuid): string[]
  /** The list that a mail goes by: the most specific one, the tenant's before the operator's; null: the installation's own route. */
  listFor(tenantId: Uuid, domain: string, stream: Stream): readonly RouteListEntry[] | null
  /** Whether any list lets a tenant's mail take the route of that name. */
  mayTake(tenantId: Uuid, name: string): boolean
  /** Whether a list is for all mail of a tenant, so that none takes the installation's own route unless a list says so. */
  hasWholeList(tenantId: Uuid): boolean
}

export interface UnusableRoute {
  /** Null: the installation's own. */
  name: string | null
  /** Null: the operator's. */
  tenantId: Uuid | null
}

export interface RouteDirectoryParts {
  database: Database
  wake: Pick<Wake, 'on'>
  onError: (error: Error) => void
}

/** A change that no wake-up told of is noticed after this, at the latest. */
const rereadMs = 60_000
/** After a reading that failed. */
const afterErrorMs = 1_000
/** Mails that name what nobody has wait so long for a reading that they share. */
const refreshGapMs = 100

/** Reads everything once, and keeps it up to date. Rejects when PostgreSQL cannot be asked. */
export async function openRouteDirectory(parts: RouteDirectoryParts): Promise<RouteDirectory> {
  const { engine } = parts.database
  const listeners = new Set<() => void>()
  let present = indexRoutes(await readRoutePlan(engine))
  let [begun, taken] = [0, 0]
  let refreshedAtMs = -refreshGapMs
  let refreshing: Promise<void> | null = null

  const read = async () => {
    const number = ++begun
    const index = indexRoutes(await readRoutePlan(engine))
    // Of two at once the later one knows more.
    if (number < taken) return
    taken = number
    present = index
    for (const listener of listeners) listener()
  }
  /** Whoever comes before the reading begins shares it: it knows all that was written before he asked. */
  const refreshSoon = async () => {
    await delay(Math.max(0, refreshedAtMs + refreshGapMs - performance.now()))
    refreshing = null
    refreshedAtMs = performance.now()
    await read()
  }
  const sleeper = createSleeper({
    round: async () => {
      await read()
      return rereadMs
    },
    onError: parts.onError,
    afterErrorMs,
  })
  const stopListening = parts.wake.on('routes', () => sleeper.wake())
  const timer = setTimeout(() => sleeper.wake(), rereadMs)
  return {
    get present() {
      return present
    },
    read,
    refresh: () => {
      refreshing ??= refreshSoon()
      return refreshing
    },
    onRead: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: async () => {
      stopListening()
      clearTimeout(timer)
      await sleeper.stop()
      await refreshing?.catch(() => undefined)
    },
  }
}

/** The operator, as the owner of routes and lists. */
const everybody = ''

export function indexRoutes(plan: RoutePlan): RouteIndex {
  const routes = new Map(plan.routes.map((route) => [`${route.tenantId ?? everybody} ${route.name}`, route]))
  const lists = new Map(
    plan.lists.map((list) => [
      `${list.tenantId ?? everybody} ${list.domain ?? ''} ${list.stream ?? ''}`,
      list.routes,
    ]),
  )
  const listOwners = new Set(plan.lists.map((list) => list.tenantId ?? everybody))
  const find = (tenantId: Uuid, name: string) =>
    routes.get(`${tenantId} ${name}`) ?? routes.get(`${everybody} ${name}`) ?? null
  return {
    hasLists: plan.lists.length > 0,
    sources: plan.sources,
    health: plan.health,
    unusable: findUnusable(plan),
    find,
    namesFor: (tenantId) => [
      ...new Set(
        plan.routes
          .filter((route) => route.tenantId === tenantId || route.tenantId === null)
          .map((route) => route.name),
      ),
    ],
    listFor: (tenantId, domain, stream) => {
      const own = listOwners.has(tenantId) ? findList(lists, tenantId, domain, stream) : null
      return own ?? (listOwners.has(everybody) ? findList(lists, everybody, domain, stream) : null)
    },
    mayTake: (tenantId, name) => {
      const usable = plan.lists.filter(
        (list) => list.tenantId === tenantId || (list.tenantId === null && !lists.has(`${tenantId}  `)),
      )
      return usable.some((list) => list.routes.some((entry) => entry.route === name))
    },
    hasWholeList: (tenantId) => lists.has(`${tenantId}  `) || lists.has(`${everybody}  `),
  }
}

function findUnusable({ routes, health }: RoutePlan): UnusableRoute[] {
  const inTrouble = new Set(health.map(({ route }) => route))
  const named = routes.filter(({ id, state }) => state === 'paused' || inTrouble.has(id))
  const own = inTrouble.has('installation') ? [{ name: null, tenantId: null }] : []
  return [...own, ...named.map(({ name, tenantId }) => ({ name, tenantId }))]
}

/** By domain and stream, by domain, by those above it, by stream, by nothing: from the most specific on. */
function findList(
  lists: ReadonlyMap<string, readonly RouteListEntry[]>,
  owner: string,
  domain: string,
  stream: Stream,
): readonly RouteListEntry[] | null {
  for (let name = domain; ; name = name.slice(name.indexOf('.') + 1 || name.length)) {
    const list = lists.get(`${owner} ${name} ${stream}`) ?? lists.get(`${owner} ${name} `)
    if (list !== undefined) return list
    if (name === '') return null
  }
}
