/**
 * Managing named routes: a tenant's own, and the operator's, which every tenant may use. A password is sealed at rest and never shown;
 * it goes to no other host than the one that it was given for.
 */
import { isIP } from 'node:net'
import {
  type Caller,
  conflict,
  type FieldFault,
  findRouteNameFault,
  formatId,
  type IdSource,
  invalidRequest,
  ProductError,
  parseId,
  type RouteKind,
  type Sealer,
  type Uuid,
} from '@valija/core'
import { parseAddress } from '@valija/mail'
import {
  type Database,
  deleteRoute,
  findRoute,
  findRouteUse,
  insertRoute,
  listRoutes,
  markRouteUp,
  maxRoutes,
  type ReturnPathKind,
  type RouteConfig,
  type RouteTls,
  readRouteHealth,
  type StoredRoute,
  updateRoute,
  type Wake,
} from '@valija/store'
import { noTenant } from './authenticate.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { releaseRoute } from './release-route.ts'
import { recoveryEvents } from './route-events.ts'
import { sealRoutePassword } from './route-password.ts'

export interface RouteDesk {
  database: Database
  sealer: Sealer
  wake: Wake
  nextId: IdSource
  clock: { nowMs(): number }
}

/** The body of PATCH /routes/:id. */
export interface RouteChange {
  host?: string
  port?: number
  tls?: RouteTls
  user?: string | null
  password?: string | null
  return_path?: ReturnPathKind
  return_path_address?: string | null
  rewrites_ids?: boolean
  pool?: string | null
  state?: 'enabled' | 'paused'
  paused_until?: string | null
}

/** The body of POST /routes. */
export interface RouteInput extends Omit<RouteChange, 'state' | 'paused_until'> {
  name: string
  kind: RouteKind
}

export interface RouteView {
  id: string
  name: string
  kind: RouteKind
  /** The operator's: a tenant may use it, and sees nothing of where it leads. */
  shared: boolean
  host: string | null
  port: number | null
  tls: RouteTls | null
  user: string | null
  has_password: boolean
  return_path: ReturnPathKind
  return_path_address: string | null
  rewrites_ids: boolean
  pool: string | null
  state: 'enabled' | 'paused'
  paused_reason: string | null
  paused_reply: string | null
  paused_until: string | null
  down_since: string | null
  down_reply: string | null
  created_at: string
}

/** Whose routes a caller manages: a tenant's, or the operator's (null) when he acts for none. */
export function ownerOf(caller: Caller): Uuid | null {
  return caller.tenantId === noTenant ? null : caller.tenantId
}

export async function showRoutes(
  desk: RouteDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<RouteView>> {
  const owner = ownerOf(caller)
  const { data, next_cursor } = await readPage(
    'route',
    request,
    (page) => listRoutes(desk.database, owner, page),
    (route) => route,
  )
  return { data: await toViews(desk, owner, data), next_cursor }
}

/** @throws {ProductError} not_found */
export async function showRoute(desk: RouteDesk, caller: Caller, id: string): Promise<RouteView> {
  const uuid = parseId('route', id)
  const route = uuid && (await findRoute(desk.database, ownerOf(caller), uuid))
  if (!route) throw new ProductError('not_found')
  return toView(desk, ownerOf(caller), route)
}

/** @throws {ProductError} invalid_request, insufficient_scope, conflict */
export async function addRoute(desk: RouteDesk, caller: Caller, input: RouteInput): Promise<RouteView> {
  requireRightTo(caller, input)
  const owner = ownerOf(caller)
  const id = desk.nextId()
  const faults: FieldFault[] = []
  const nameFault = findRouteNameFault(input.name)
  if (nameFault !== null) faults.push({ path: '/name', message: nameFault })
  const seal = (password: string) => sealRoutePassword(desk.sealer, id, password)
  const config = readConfig(input.kind, blankConfig, input, faults, seal)
  if (faults.length > 0) throw invalidRequest(faults)
  const { name, kind } = input
  const added = await insertRoute(desk.database, {
    ...config,
    id,
    tenantId: owner,
    name,
    kind,
    isGuarded: !caller.isOperator,
  })
  if (added === 'doubled')
    throw conflict('exists', { detail: `There is a route named ${name} already: see GET /routes.` })
  if (added === 'full')
    throw conflict('full', {
      detail: `There are ${maxRoutes} routes already; delete those that nobody uses.`,
    })
  desk.wake.send('routes')
  return toView(desk, owner, added)
}

/**
 * Changes a route. Another host or login ends the pause of a refused login; a host that a tenant gives is guarded from then on.
 *
 * @throws {ProductError} not_found, invalid_request, insufficient_scope
 */
export async function changeRoute(
  desk: RouteDesk,
  caller: Caller,
  id: string,
  input: RouteChange,
): Promise<RouteView> {
  requireRightTo(caller, input)
  const owner = ownerOf(caller)
  const uuid = parseId('route', id)
  let isAnew = false
  const changed =
    uuid &&
    (await updateRoute(desk.database, owner, uuid, (present) => {
      const faults: FieldFault[] = []
      const seal = (password: string) => sealRoutePassword(desk.sealer, uuid, password)
      const config = readConfig(present.kind, present, input, faults, seal)
      if (leadsElsewhere(input) && present.password !== null && input.password === undefined) {
        const message = 'must be given again: it is not sent to another host, port or TLS mode by itself.'
        faults.push({ path: '/password', message })
      }
      const pause = readPause(present, input, desk.clock.nowMs(), faults)
      if (faults.length > 0) throw invalidRequest(faults)
      isAnew = pause.state === 'enabled' || isOtherPeer(present, config)
      return { ...config, ...pause, ...(leadsElsewhere(input) && { isGuarded: !caller.isOperator }) }
    }))
  if (!changed) throw new ProductError('not_found')
  if (isAnew && isInUse(changed, desk.clock.nowMs())) await takeIntoUse(desk, changed)
  desk.wake.send('routes')
  return toView(desk, owner, changed)
}

/** Ends a pause. @throws {ProductError} not_found */
export async function resumeRoute(desk: RouteDesk, caller: Caller, id: string): Promise<RouteView> {
  return changeRoute(desk, caller, id, { state: 'enabled' })
}

/** @throws {ProductError} not_found; conflict while something names it */
export async function removeRoute(desk: RouteDesk, caller: Caller, id: string): Promise<void> {
  const owner = ownerOf(caller)
  const uuid = parseId('route', id)
  const route = uuid && (await findRoute(desk.database, owner, uuid))
  if (!route || route.tenantId !== owner) throw new ProductError('not_found')
  const { lists, keys, hasMail } = await findRouteUse(desk.database, route)
  const users = [
    ...(lists > 0 ? [`${lists} lists of routes`] : []),
    ...(keys > 0 ? [`${keys} API keys`] : []),
    ...(hasMail ? ['mail on its way'] : []),
  ]
  if (users.length > 0) {
    throw conflict('used', { detail: `It is still named by ${users.join(' and ')}.` })
  }
  if (!(await deleteRoute(desk.database, owner, uuid))) throw new ProductError('not_found')
  await markRouteUp(desk.database.engine, uuid, () => [])
  desk.wake.send('routes')
}

/** A route that leads elsewhere, or that somebody enables, is as good as new: whoever was told of its trouble is told that it is over. */
async function takeIntoUse(desk: RouteDesk, route: StoredRoute): Promise<void> {
  const { isChanged, hasWebhooks } = await markRouteUp(desk.database.engine, route.id, (told) =>
    recoveryEvents(desk, { name: route.name, kind: route.kind }, told),
  )
  if (isChanged && hasWebhooks) desk.wake.send('webhooks')
  await releaseRoute(desk, route)
}

/** Whether a session by this configuration is another one than before. */
function isOtherPeer(before: RouteConfig, after: RouteConfig): boolean {
  return (['host', 'port', 'tls', 'username', 'password'] as const).some(
    (field) => before[field] !== after[field],
  )
}

function isInUse({ state, pausedUntil }: RouteConfig, nowMs: number): boolean {
  return state === 'enabled' || (pausedUntil !== null && pausedUntil.getTime() <= nowMs)
}

/** Mail to exchangers and pools of addresses are the operator's reputation. */
function requireRightTo(caller: Caller, input: { kind?: RouteKind; pool?: string | null }): void {
  if (caller.isOperator) return
  if ((input.kind === undefined || input.kind === 'smarthost') && input.pool == null) return
  throw new ProductError('insufficient_scope', {
    detail:
      'Only the operator’s key (VALIJA_ADMIN_KEY) makes routes of kind mx and capture, and sets a pool.',
  })
}

/** What a new route has that nobody said anything about. */
const blankConfig: RouteConfig = {
  host: null,
  port: null,
  tls: null,
  username: null,
  password: null,
  returnPath: 'verp',
  returnPathAddress: null,
  rewritesIds: false,
  pool: null,
  isGuarded: true,
  state: 'enabled',
  pausedReason: null,
  pausedReply: null,
  pausedUntil: null,
}

function leadsElsewhere({ host, port, tls }: RouteChange): boolean {
  return host !== undefined || port !== undefined || tls !== undefined
}

/** The configuration that `input` makes of `present`; what is wrong with it is added to `faults`. */
function readConfig(
  kind: RouteKind,
  present: RouteConfig,
  input: RouteChange,
  faults: FieldFault[],
  seal: (password: string) => Buffer,
): RouteConfig {
  const peer = kind === 'smarthost' ? readPeer(present, input, faults) : refusePeer(kind, input, faults)
  const returnPath = input.return_path ?? present.returnPath
  const given = input.return_path_address
  return {
    ...present,
    ...peer,
    password:
      input.password == null ? (input.password === null ? null : present.password) : seal(input.password),
    returnPath,
    returnPathAddress: readReturnPathAddress(
      returnPath,
      given === undefined && returnPath === 'fixed' ? present.returnPathAddress : (given ?? null),
      kind,
      faults,
    ),
    rewritesIds: input.rewrites_ids ?? present.rewritesIds,
    pool: input.pool === undefined ? present.pool : input.pool,
  }
}

type Peer = Pick<RouteConfig, 'host' | 'port' | 'tls' | 'username'>

const implicitPort = 465
const submissionPort = 587

function readPeer(present: RouteConfig, input: RouteChange, faults: FieldFault[]): Peer {
  const host = (input.host ?? present.host)?.toLowerCase() ?? null
  if (host === null) faults.push({ path: '/host', message: 'is required for a smarthost.' })
  else if (!isHost(host)) faults.push({ path: '/host', message: 'is no host name or IP address.' })
  const port = input.port ?? present.port ?? (input.tls === 'implicit' ? implicitPort : submissionPort)
  const tls = input.tls ?? present.tls ?? (port === implicitPort ? 'implicit' : 'opportunistic')
  const username = input.user === undefined ? present.username : input.user
  const hasPassword = input.password === undefined ? present.password !== null : input.password !== null
  if (username !== null && !hasPassword)
    faults.push({ path: '/password', message: 'must be given with user.' })
  if (username === null && hasPassword)
    faults.push({ path: '/user', message: 'must be given with password.' })
  return { host, port, tls, username }
}

function refusePeer(kind: RouteKind, input: RouteChange, faults: FieldFault[]): Peer {
  for (const field of ['host', 'port', 'tls', 'user', 'password'] as const) {
    if (input[field] != null)
      faults.push({ path: `/${field}`, message: `is for smarthosts; a route of kind ${kind} has none.` })
  }
  return { host: null, port: null, tls: null, username: null }
}

/** A host name (RFC 1123 section 2.1; underscores are seen inside networks), or an IP literal without brackets. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return !text.includes('%')
  return (
    text.length <= 253 &&
    /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)
  )
}

function readReturnPathAddress(
  returnPath: ReturnPathKind,
  address: string | null,
  kind: RouteKind,
  faults: FieldFault[],
): string | null {
  if (returnPath === 'from' && kind === 'mx') {
    const message = 'bounces of mail to exchangers must come back here: use verp or fixed.'
    faults.push({ path: '/return_path', message })
  }
  if (returnPath !== 'fixed') {
    if (address !== null) faults.push({ path: '/return_path_address', message: 'is for return_path fixed.' })
    return null
  }
  const parsed = address === null ? null : parseAddress(address)
  if (parsed === null)
    faults.push({ path: '/return_path_address', message: 'is required for return_path fixed.' })
  else if (!parsed.ok) faults.push({ path: '/return_path_address', message: parsed.message })
  else return parsed.value.email
  return null
}

const notPaused = { state: 'enabled', pausedReason: null, pausedReply: null, pausedUntil: null } as const

/** What a change makes of the pause. */
function readPause(
  present: RouteConfig,
  input: RouteChange,
  nowMs: number,
  faults: FieldFault[],
): Partial<RouteConfig> {
  const until = input.paused_until ? new Date(input.paused_until) : null
  if (until !== null && input.state !== 'paused') {
    faults.push({ path: '/paused_until', message: 'must come with "state": "paused".' })
  } else if (until !== null && !(until.getTime() > nowMs)) {
    faults.push({ path: '/paused_until', message: 'must lie in the future.' })
  }
  if (input.state === 'paused') {
    return { state: 'paused', pausedReason: 'manual', pausedReply: null, pausedUntil: until }
  }
  const hasOtherLogin = leadsElsewhere(input) || input.user !== undefined || input.password !== undefined
  const isMended = present.pausedReason === 'login_refused' && hasOtherLogin
  return input.state === 'enabled' || isMended ? notPaused : {}
}

async function toView(desk: RouteDesk, owner: Uuid | null, route: StoredRoute): Promise<RouteView> {
  return (await toViews(desk, owner, [route]))[0]!
}

async function toViews(
  desk: RouteDesk,
  owner: Uuid | null,
  routes: readonly StoredRoute[],
): Promise<RouteView[]> {
  const ids = routes.map((route) => route.id)
  const troubles = await readRouteHealth(desk.database.engine, ids)
  const nowMs = desk.clock.nowMs()
  return routes.map((stored) => {
    const route = isInUse(stored, nowMs) ? { ...stored, ...notPaused } : stored
    const isOwn = route.tenantId === owner
    const own = <T>(value: T): T | null => (isOwn ? value : null)
    const down = troubles.get(route.id)
    return {
      id: formatId('route', route.id),
      name: route.name,
      kind: route.kind,
      shared: route.tenantId === null,
      host: own(route.host),
      port: own(route.port),
      tls: own(route.tls),
      user: own(route.username),
      has_password: isOwn && route.password !== null,
      return_path: route.returnPath,
      return_path_address: own(route.returnPathAddress),
      rewrites_ids: route.rewritesIds,
      pool: own(route.pool),
      state: route.state,
      paused_reason: route.pausedReason,
      paused_reply: own(route.pausedReply),
      paused_until: route.pausedUntil?.toISOString() ?? null,
      down_since: down?.since.toISOString() ?? null,
      down_reply: own(down?.reply ?? null),
      created_at: route.createdAt.toISOString(),
    }
  })
}
