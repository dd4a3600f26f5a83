/**
 * Chooses a leased delivery's route and source (the port in route-choice.ts).
 *
 *   what the message or its key names → that route
 *   else the most specific list of the tenant, else of the operator → the first of its routes that can be used
 *   else the installation's own
 *
 * What was accepted for capture stays there. All is decided from memory; PostgreSQL is asked for chunks of a warm-up's rights, and
 * for the right to try a route that is down.
 */
import { type Disposition, type IdSource, readRoute, type Sealer, steadyNowMs, type Uuid } from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import { avoidNextTime, type Database, probeNow, type Wake } from '@valija/store'
import { avoidedSource, createSourceChooser, type SourceChooser } from './choose-source.ts'
import { createLateRelease } from './late-release.ts'
import { type OwnRouteOptions, ownRoutes } from './own-routes.ts'
import {
  createRouteBreaker,
  installation,
  type RouteBreaker,
  type RouteState,
  type WatchedRoute,
} from './route-breaker.ts'
import { type Candidate, createRouteCandidates, type RouteCandidates } from './route-candidates.ts'
import {
  type ChoosableDelivery,
  type ChosenSource,
  type RouteChoice,
  type RouteChooser,
  type RouteHold,
  routeHold,
  type TakenWay,
} from './route-choice.ts'
import { openRouteDirectory, type RouteDirectory, type RouteIndex } from './route-directory.ts'

export interface RouteChooserParts extends OwnRouteOptions {
  database: Database
  wake: Pick<Wake, 'on' | 'send'>
  sealer: Sealer
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
  nextId: IdSource
  /** Sources of the configuration, at least one. */
  sources: readonly ChosenSource[]
  /** Addresses that this machine has now. */
  localAddresses: () => readonly string[]
  onError: (error: Error) => void
  /** For the operator. */
  log: (fields: object, text: string) => void
}

interface Parts {
  directory: RouteDirectory
  candidates: RouteCandidates
  breaker: RouteBreaker
  sourceChooser: SourceChooser
}

/** A mail whose route nobody here knows looks again after this. */
const setAsideMs = 60_000
/** Mail for a paused route looks again after this, give or take a quarter; whoever resumes the route makes it due at once. */
const pausedLookMs = 300_000
/** Of the mails that wait for a route to be tried again one tries, so they need not all come at that moment. */
const probeSpreadMs = 60_000

/** Reads what there is, and keeps it up to date. Rejects when PostgreSQL cannot be asked. */
export async function openRouteChooser(options: RouteChooserParts): Promise<RouteChooser> {
  const { database, onError } = options
  const listeners = new Set<(routeKey: string) => void>()
  const directory = await openRouteDirectory(options)
  const own = ownRoutes(options)
  const breaker = createRouteBreaker({
    ...options,
    mayTake: (tenantId, route) => mayTake(directory.present, options.delivery, tenantId, route),
    onUnavailable: (key, state) => {
      // Without a list there is nothing to take instead: its site waits by itself.
      if (state !== 'login_refused' && !directory.present.hasLists) return
      for (const listener of listeners) listener(key)
    },
  })
  const sourceChooser = createSourceChooser({ ...options, configured: options.sources })
  const parts = {
    directory,
    breaker,
    sourceChooser,
    candidates: createRouteCandidates({ ...options, directory, own }),
  }
  await probeAfterRestart(database, directory)
  const lateRelease = createLateRelease({ ...options, ownRoute: options.delivery })
  const adopt = () => {
    breaker.adopt(directory.present)
    lateRelease.notice(directory.present)
    if (directory.present.sources.length > 0) sourceChooser.announce(directory.present).catch(onError)
  }
  adopt()
  directory.onRead(adopt)
  const writes = new Set<Promise<void>>()
  return {
    choose: async (delivery, providerOf) => choose(parts, delivery, providerOf),
    observe: (delivery, taken, report, disposition) => {
      const route = parts.candidates.of(taken.route)
      if (route?.kind === 'smarthost') breaker.observe(route, delivery.tenantId, report, disposition)
      const reply = report.reply && formatSmtpReply(report.reply)
      sourceChooser.observe(delivery, taken, { disposition, reply })
      const avoided = findAvoided(taken, disposition)
      if (avoided === null) return
      const write: Promise<void> = avoidNextTime(database.engine, delivery.recipientId, avoided)
        .catch(onError)
        .finally(() => writes.delete(write))
      writes.add(write)
    },
    onUnavailable: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: async () => {
      await Promise.all([...writes, breaker.close(), sourceChooser.close()])
      await directory.close()
      await lateRelease.close()
    },
  }
}

/** A restart may have brought another password: the first mail tries it. */
async function probeAfterRestart(database: Database, directory: RouteDirectory): Promise<void> {
  if (!directory.present.health.some(({ route }) => route === installation)) return
  await probeNow(database.engine, installation)
  await directory.read()
}

/** Whether a tenant's mail may take a route that is not its own. */
function mayTake(index: RouteIndex, delivery: string, tenantId: Uuid, { name }: WatchedRoute): boolean {
  if (index.mayTake(tenantId, name)) return true
  return name === delivery && !index.hasWholeList(tenantId)
}

async function choose(
  { directory, candidates, breaker, sourceChooser }: Parts,
  delivery: ChoosableDelivery,
  providerOf: () => Promise<string | null>,
): Promise<RouteChoice> {
  const found = candidates.find(delivery)
  const list = found instanceof Promise ? await found : found
  const isAlone = list.length === 1
  const waits: Hold[] =
    list.length > 0 ? [] : [hold('no_route', readRoute(delivery.route).name, steadyNowMs() + setAsideMs)]
  /** What is taken when nothing better is there: what refused this recipient's mail, or failed a moment ago. */
  const makeshifts: Extract<RouteChoice, { kind: 'send' }>[] = []
  for (const candidate of list) {
    const state = breaker.conditionOf(candidate)
    const wait = await findObstacle(breaker, candidate, state, isAlone)
    if (wait !== null) {
      waits.push(wait)
      continue
    }
    const { chosen: route, pool } = candidate
    const from = sourceChooser.choose(directory.present, delivery, { way: route.way, pool }, providerOf)
    const source = from instanceof Promise ? await from : from
    if (source.kind === 'wait') {
      waits.push({ ...source, kind: 'hold' })
      continue
    }
    const choice = { kind: 'send' as const, route, source: source.source }
    const isAvoided = source.isAvoided || (delivery.avoid?.includes(avoidedRoute(route.name)) ?? false)
    if (isAlone || (state !== 'suspected' && !isAvoided)) return choice
    makeshifts.push(choice)
  }
  return makeshifts[0] ?? waits.reduce((first, other) => (other.untilMs < first.untilMs ? other : first))
}

type Hold = Extract<RouteChoice, { kind: 'hold' }>

function hold(kind: RouteHold, name: string, untilMs: number): Hold {
  return { kind: 'hold', untilMs, hold: routeHold(kind, name) }
}

/** What keeps a mail from a route now; null for nothing. */
async function findObstacle(
  breaker: RouteBreaker,
  route: Candidate,
  state: RouteState,
  isAlone: boolean,
): Promise<Hold | null> {
  const nowMs = steadyNowMs()
  if (route.pausedUntilMs > nowMs) {
    const lookMs = nowMs + pausedLookMs * (0.75 + Math.random() / 2)
    return hold('route_paused', route.name, Math.min(route.pausedUntilMs, lookMs))
  }
  if (state === 'usable' || state === 'suspected') return null
  // A relay without another in its place is tried at the pace of its site; its mail is told why it waits.
  if (state === 'down' && isAlone) return null
  if (await breaker.claimProbe(route)) return null
  const untilMs = Math.max(nowMs, breaker.probeAtMs(route)) + Math.random() * probeSpreadMs
  return hold(state === 'down' ? 'route_down' : 'route_paused', route.name, untilMs)
}

function avoidedRoute(name: string): string {
  return `route:${name}`
}

/** What a recipient's next attempt should not take: the address that was refused, or the relay, whose addresses are its own. */
function findAvoided({ route, source }: TakenWay, { action }: Disposition): string | null {
  if (action !== 'retry_other_source' && action !== 'retry_other_route') return null
  const isSourceAlone = action === 'retry_other_source' && route.way.kind === 'mx'
  return isSourceAlone ? avoidedSource(source.name) : avoidedRoute(route.name)
}
