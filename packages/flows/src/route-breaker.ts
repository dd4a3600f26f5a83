/**
 * Which routes can be used now. A relay that takes no connections is left alone for some seconds by the worker that noticed it;
 * when it goes on, all workers know it to be down, its tenants are told, and one mail at a time tries it. One that refuses our
 * login is paused: nothing goes there before somebody mends it, and no mail is lost to it (W19).
 */
import {
  type Disposition,
  type IdSource,
  type Phase,
  type RouteKind,
  steadyNowMs,
  type TransactionReport,
  type TransportFailure,
  type Uuid,
} from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import {
  claimProbe,
  type Database,
  findSendingTenants,
  type HealthChange,
  markRouteDown,
  markRouteUp,
  pauseRefusedRoute,
  type RouteCondition,
  type Wake,
} from '@valija/store'
import { releaseRoute } from './release-route.ts'
import type { RouteIndex } from './route-directory.ts'
import { downEvents, recoveryEvents } from './route-events.ts'

/** A route as its health is kept. */
export interface WatchedRoute {
  /** What its health is stored by: its id, or `installation`. */
  healthKey: string
  /** What it is in memory, with this configuration. */
  key: string
  name: string
  kind: RouteKind
  /** Null: the operator's or the installation's. */
  tenantId: Uuid | null
  /** Sealed, as it was used. */
  password: Buffer | null
  /** It takes no mail of ours without TLS, whatever a mail wants. */
  demandsTls: boolean
}

/** `suspected`: it failed a moment ago, as this worker saw. */
export type RouteState = 'usable' | 'suspected' | RouteCondition

export interface RouteBreaker {
  conditionOf(route: WatchedRoute): RouteState
  /** Takes the right to try a route that is down or refused us; false: not now. */
  claimProbe(route: WatchedRoute): Promise<boolean>
  /** When somebody may try it again (`steadyNowMs()`). */
  probeAtMs(route: WatchedRoute): number
  observe(route: WatchedRoute, tenantId: Uuid, report: TransactionReport, disposition: Disposition): void
  /** Takes over what all workers know. */
  adopt(index: RouteIndex): void
  close(): Promise<void>
}

export interface RouteBreakerParts {
  database: Database
  wake: Pick<Wake, 'send'>
  clock: { nowMs(): number }
  nextId: IdSource
  /** Whether a tenant's mail may take a route that is not its own. */
  mayTake: (tenantId: Uuid, route: WatchedRoute) => boolean
  /** A route was found to fail, or is not to be used by now. */
  onUnavailable: (routeKey: string, state: RouteState) => void
  onError: (error: Error) => void
  /** For the operator. */
  log: (fields: object, text: string) => void
}

/** A relay is down after so many failures in a row, or when it has failed for so long. */
const failuresUntilDown = 5
const failingUntilDownMs = 30_000
/** Others of its list are taken instead for this long after a failure. */
const suspectMs = 5_000
/** How often one mail tries a route that is down, and one whose login was refused where nobody can resume it by hand. */
const probeEveryMs = { down: 30_000, login_refused: 120_000 }
/** Another worker has just tried it, or by PostgreSQL's clock it is not quite time yet: nobody asks again sooner. */
const refusedProbeMs = 1_000

/** What one worker sees of its relays: failures in a row, by the route's key. */
function createFailureMemory() {
  const failing = new Map<string, { count: number; sinceMs: number; suspectUntilMs: number }>()
  return {
    /** @returns whether the route counts as down by now */
    add: (key: string): boolean => {
      const nowMs = performance.now()
      const { count, sinceMs } = failing.get(key) ?? { count: 0, sinceMs: nowMs }
      failing.set(key, { count: count + 1, sinceMs, suspectUntilMs: nowMs + suspectMs })
      return count + 1 >= failuresUntilDown || (count > 0 && nowMs - sinceMs >= failingUntilDownMs)
    },
    isSuspected: (key: string): boolean => performance.now() < (failing.get(key)?.suspectUntilMs ?? 0),
    forget: (key: string): void => {
      failing.delete(key)
    },
  }
}

interface Trouble {
  condition: RouteCondition
  /** When one mail may try it (`steadyNowMs()`). */
  probeAtMs: number
}

/** What all workers know of routes in trouble, by health key: as PostgreSQL had it, and as this worker is changing it. */
function createTroubles(onError: (error: Error) => void) {
  let known = new Map<string, Trouble>()
  const changing = new Map<string, { next: (() => Promise<void>) | null; isOver: Promise<void> }>()
  const writeAll = async (key: string, write: () => Promise<void>): Promise<void> => {
    for (let now: typeof write | null = write; now !== null; ) {
      await now().catch(onError)
      const change = changing.get(key)
      now = change?.next ?? null
      if (change !== undefined) change.next = null
    }
    changing.delete(key)
  }
  return {
    get: (key: string): Trouble | undefined => known.get(key),
    /**
     * Changes what is known, here at once and in PostgreSQL by `write`: one write after the other, and of those that come while one
     * is under way only the newest, for it is what is true by then.
     */
    change: (key: string, trouble: Trouble | null, write: () => Promise<void>): void => {
      if (trouble === null) known.delete(key)
      else known.set(key, trouble)
      const underWay = changing.get(key)
      if (underWay === undefined) changing.set(key, { next: null, isOver: writeAll(key, write) })
      else underWay.next = write
    },
    adopt: ({ health }: RouteIndex): void => {
      const nowMs = steadyNowMs()
      const read = new Map(
        health.map(({ route, condition, probeInMs }) => [route, { condition, probeAtMs: nowMs + probeInMs }]),
      )
      // What this worker is just writing down, nobody could have read.
      for (const key of changing.keys()) {
        const own = known.get(key)
        if (own === undefined) read.delete(key)
        else read.set(key, own)
      }
      known = read
    },
    settle: async (): Promise<void> => {
      await Promise.all([...changing.values()].map(({ isOver }) => isOver))
    },
  }
}

export function createRouteBreaker(parts: RouteBreakerParts): RouteBreaker {
  const failures = createFailureMemory()
  const troubles = createTroubles(parts.onError)

  const learn = (route: WatchedRoute, tenantId: Uuid, condition: RouteCondition, reply: string | null) => {
    const probeAtMs = steadyNowMs() + probeEveryMs[condition]
    troubles.change(route.healthKey, { condition, probeAtMs }, () =>
      tellTrouble(parts, route, tenantId, condition, reply),
    )
    parts.log({ route: route.name, condition, reply }, 'route down')
    parts.onUnavailable(route.key, condition)
  }
  const failed = (route: WatchedRoute, tenantId: Uuid, reply: string | null) => {
    const isDown = failures.add(route.key)
    if (troubles.get(route.healthKey) !== undefined) return
    if (isDown) learn(route, tenantId, 'down', reply)
    else parts.onUnavailable(route.key, 'suspected')
  }
  const recovered = (route: WatchedRoute) => {
    failures.forget(route.key)
    const trouble = troubles.get(route.healthKey)
    // A session that was open before says nothing of the login: somebody resumes the route.
    if (trouble === undefined || (trouble.condition === 'login_refused' && isPausable(route))) return
    parts.log({ route: route.name }, 'route recovered')
    troubles.change(route.healthKey, null, () => tellRecovery(parts, route))
  }
  return {
    conditionOf: (route) =>
      troubles.get(route.healthKey)?.condition ?? (failures.isSuspected(route.key) ? 'suspected' : 'usable'),
    claimProbe: async (route) => {
      const trouble = troubles.get(route.healthKey)
      if (trouble === undefined) return true
      if (steadyNowMs() < trouble.probeAtMs) return false
      const everyMs = probeEveryMs[trouble.condition]
      trouble.probeAtMs = steadyNowMs() + everyMs
      const claim = await claimProbe(parts.database.engine, route.healthKey, everyMs)
      if (!claim.isOurs) trouble.probeAtMs = steadyNowMs() + Math.max(refusedProbeMs, claim.inMs)
      return claim.isOurs
    },
    probeAtMs: (route) => troubles.get(route.healthKey)?.probeAtMs ?? 0,
    observe: (route, tenantId, report, disposition) => {
      const reply = report.reply === null ? report.detail : formatSmtpReply(report.reply)
      if (isLoginRefusal(report, disposition)) {
        if (troubles.get(route.healthKey)?.condition === 'login_refused') return
        learn(route, tenantId, 'login_refused', reply)
      } else if (isUnreachable(route, report)) failed(route, tenantId, reply)
      else if (isAtWork(report)) recovered(route)
    },
    adopt: troubles.adopt,
    close: troubles.settle,
  }
}

/** For good: a 4xx may only be the relay's bad minute. */
function isLoginRefusal({ reply }: TransactionReport, { action }: Disposition): boolean {
  return action === 'pause_route' && (reply === null || reply.code >= 500)
}

/** What counts as trouble of the relay, by where it was met: no connection, or no way to MAIL. All else is a mail's, or ours. */
const troublesByPhase: Readonly<Partial<Record<Phase, readonly TransportFailure[]>>> = {
  // A relay's own name: a list has others.
  dns: ['name_unavailable'],
  connect: ['connection_refused', 'connection_timeout', 'connection_lost', 'address_refused'],
  greeting: ['connection_lost', 'timeout', 'protocol'],
  tls: ['connection_lost', 'timeout', 'protocol', 'tls'],
  ehlo: ['connection_lost', 'timeout', 'protocol'],
  // `tls`: no login goes over a connection that is not secured.
  auth: ['connection_lost', 'timeout', 'protocol', 'tls', 'login_refused'],
}

/** The relay did not come as far as MAIL: nothing was said of a recipient or a message. */
function isUnreachable({ demandsTls }: WatchedRoute, { phase, failure, reply }: TransactionReport): boolean {
  const counted = troublesByPhase[phase]
  // Where only the mail wants TLS, a relay without it is as good as before for all others.
  if (counted === undefined || (phase === 'tls' && !demandsTls)) return false
  return failure === null ? reply !== null : counted.includes(failure)
}

/** The relay answered to the mail itself, whatever it said. */
function isAtWork({ phase, failure, reply }: TransactionReport): boolean {
  return failure === null && reply !== null && troublesByPhase[phase] === undefined
}

async function tellTrouble(
  parts: RouteBreakerParts,
  route: WatchedRoute,
  tenantId: Uuid,
  condition: RouteCondition,
  reply: string | null,
): Promise<void> {
  const { engine } = parts.database
  const told = route.tenantId === null ? await findConcerned(parts, route, tenantId) : [route.tenantId]
  const trouble = {
    route: route.healthKey,
    reply,
    told,
    // Where an operator's route leads, and what is said there, is not its tenants' to know.
    events: downEvents(parts, route, { condition, reply: route.tenantId === null ? null : reply }, told),
  }
  const change =
    condition === 'login_refused' && isPausable(route)
      ? await pauseRefusedRoute(engine, { ...trouble, password: route.password })
      : await markRouteDown(engine, { ...trouble, condition, probeInMs: probeEveryMs[condition] })
  announce(parts, change)
}

/** What the health of the installation's own route is stored by. */
export const installation = 'installation'

/** The installation's own has no row that could be paused. */
function isPausable({ healthKey }: WatchedRoute): boolean {
  return healthKey !== installation
}

async function tellRecovery(parts: RouteBreakerParts, route: WatchedRoute): Promise<void> {
  const { engine } = parts.database
  const change = await markRouteUp(engine, route.healthKey, (told) => recoveryEvents(parts, route, told))
  await releaseRoute(parts, route)
  announce(parts, change)
}

async function findConcerned(parts: RouteBreakerParts, route: WatchedRoute, tenantId: Uuid): Promise<Uuid[]> {
  const sending = await findSendingTenants(parts.database.engine)
  return [...new Set([tenantId, ...sending.filter((id) => parts.mayTake(id, route))])]
}

function announce({ wake }: RouteBreakerParts, { isChanged, hasWebhooks }: HealthChange): void {
  wake.send('routes')
  if (isChanged && hasWebhooks) wake.send('webhooks')
}
