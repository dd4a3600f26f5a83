/** From what a delivery names, or the list that it goes by, to the routes that it may take, in the order of its recipient. */
import { hash } from 'node:crypto'
import { isBuiltInRoute, orderRoutes, readRoute, type Sealer, steadyNowMs, type Uuid } from '@valija/core'
import type { PlannedRoute } from '@valija/store'
import { installation, type WatchedRoute } from './route-breaker.ts'
import type { ChoosableDelivery, ChosenRoute } from './route-choice.ts'
import type { RouteDirectory } from './route-directory.ts'
import { openRoutePassword } from './route-password.ts'

/** A route that a mail may take. */
export interface Candidate extends WatchedRoute {
  chosen: ChosenRoute
  /** The pool that it leaves from; null: the usual one. */
  pool: string | null
  /** Until when it is paused (`steadyNowMs()`); Infinity: until somebody resumes it; 0: it is not. */
  pausedUntilMs: number
}

export interface RouteCandidates {
  /** None: nobody here knows the route. Rejects when PostgreSQL cannot be asked. */
  find(delivery: ChoosableDelivery): Promise<Candidate[]> | Candidate[]
  /** The candidate that a choice was made of. */
  of(chosen: ChosenRoute): Candidate | null
}

export interface RouteCandidateParts {
  directory: RouteDirectory
  /** The installation's own routes, by name. */
  own: ReadonlyMap<string, ChosenRoute>
  sealer: Sealer
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
  onError: (error: Error) => void
}

export function createRouteCandidates(parts: RouteCandidateParts): RouteCandidates {
  const { directory } = parts
  const byChosen = new WeakMap<ChosenRoute, Candidate>()
  const own = new Map([...parts.own.values()].map((chosen) => [chosen.name, toOwnCandidate(chosen)]))
  /** What was made of this reading's routes. */
  const prepared = new Map<Uuid, Candidate>()
  directory.onRead(() => prepared.clear())
  for (const candidate of own.values()) byChosen.set(candidate.chosen, candidate)

  const findByName = (tenantId: Uuid, name: string): Candidate | null => {
    const installations = own.get(name)
    if (installations !== undefined) return installations
    const planned = directory.present.find(tenantId, name)
    if (planned === null) return null
    const known = prepared.get(planned.id)
    if (known !== undefined) return known
    const candidate = prepare(parts, planned)
    prepared.set(planned.id, candidate)
    byChosen.set(candidate.chosen, candidate)
    return candidate
  }
  const findNamed = async ({ tenantId, route }: ChoosableDelivery): Promise<Candidate[]> => {
    // Perhaps accepted a moment ago for a route that was made the moment before.
    if (directory.present.find(tenantId, route) === null) await directory.refresh()
    const found = findByName(tenantId, route)
    return found === null ? [] : [found]
  }
  return {
    find: (delivery) => {
      const { tenantId, fromDomain, stream, email } = delivery
      const { name, isPinned } = readRoute(delivery.route)
      const installations = own.get(name)
      if (installations === undefined) return isBuiltInRoute(name) ? [] : findNamed(delivery)
      const list =
        isPinned || name === 'capture' ? null : directory.present.listFor(tenantId, fromDomain, stream)
      if (list === null) return [installations]
      return orderRoutes(list, email).flatMap((name) => findByName(tenantId, name) ?? [])
    },
    of: (chosen) => byChosen.get(chosen) ?? null,
  }
}

function toOwnCandidate(chosen: ChosenRoute): Candidate {
  const { key, name, way } = chosen
  return {
    // Only a relay is ever found wanting; the inbox and the exchangers must not wait for it.
    healthKey: way.kind === 'smarthost' ? installation : name,
    key,
    name,
    kind: way.kind,
    tenantId: null,
    password: null,
    demandsTls: demandsTls(way),
    chosen,
    pool: null,
    pausedUntilMs: 0,
  }
}

function prepare(parts: RouteCandidateParts, planned: PlannedRoute): Candidate {
  const { id, name, kind, tenantId, password, pool } = planned
  const way = readWay(parts, planned)
  const chosen: ChosenRoute = {
    id,
    name,
    key: keyOf(planned),
    way: way ?? { kind: 'capture' },
    returnPath: returnPathOf(planned),
    rewritesIds: planned.rewritesIds,
  }
  const isPaused = planned.state === 'paused' || way === null
  const untilMs = way === null ? Infinity : (planned.pausedUntil?.getTime() ?? Infinity)
  return {
    healthKey: id,
    key: chosen.key,
    name,
    kind,
    tenantId,
    password,
    demandsTls: demandsTls(chosen.way),
    chosen,
    pool,
    // PostgreSQL's time, by this machine's clock.
    pausedUntilMs: isPaused ? untilMs - parts.clock.nowMs() + steadyNowMs() : 0,
  }
}

function demandsTls(way: ChosenRoute['way']): boolean {
  return way.kind === 'smarthost' && (way.secure || way.tls === 'required')
}

/** Of whatever decides where a session goes and as whom: no two configurations share one. */
function keyOf({ id, host, port, tls, username, password, isGuarded }: PlannedRoute): string {
  const config = JSON.stringify([host, port, tls, isGuarded, username, password?.toString('base64')])
  return `${id}.${hash('sha256', config).slice(0, 16)}`
}

export function returnPathOf({
  returnPath,
  returnPathAddress,
}: Pick<PlannedRoute, 'returnPath' | 'returnPathAddress'>): ChosenRoute['returnPath'] {
  if (returnPath !== 'fixed') return { kind: returnPath }
  // The database's CHECK sees to it that there is one.
  return { kind: 'fixed', address: returnPathAddress ?? '' }
}

/** @returns null when its password cannot be opened: the route is as good as paused */
export function readWay(
  parts: Pick<RouteCandidateParts, 'sealer' | 'onError'>,
  route: PlannedRoute,
): ChosenRoute['way'] | null {
  const { id, kind, host, port, tls, username, password, isGuarded } = route
  // The database's CHECK: a smarthost has all three, others have none.
  if (kind !== 'smarthost') return { kind }
  try {
    const isImplicit = tls === 'implicit'
    return {
      kind,
      secure: isImplicit,
      host: host ?? '',
      port: port ?? 0,
      tls: isImplicit ? 'required' : (tls ?? 'required'),
      auth:
        username === null || password === null
          ? null
          : { user: username, pass: openRoutePassword(parts.sealer, id, password) },
      isGuarded,
    }
  } catch (error) {
    parts.onError(error as Error)
    return null
  }
}
