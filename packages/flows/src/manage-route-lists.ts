/**
 * Managing lists of routes: which routes the mails of a tenant, of one of its sender domains, of one stream take. The most specific list
 * counts; the operator's, without a tenant, is for everybody who has none.
 */
import {
  type Caller,
  conflict,
  type FieldFault,
  formatId,
  type IdSource,
  invalidRequest,
  isBuiltInRoute,
  ProductError,
  parseId,
  type RouteListEntry,
  type Stream,
  type Uuid,
} from '@valija/core'
import { parseDomain } from '@valija/mail'
import {
  type Database,
  deleteRouteList,
  findRouteList,
  findRouteNames,
  insertRouteList,
  listRouteLists,
  maxRouteLists,
  type StoredRouteList,
  updateRouteList,
  type Wake,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { ownerOf } from './manage-routes.ts'

export interface RouteListDesk {
  database: Database
  wake: Wake
  nextId: IdSource
  /** VALIJA_DELIVERY: which way the installation brings itself. */
  delivery: string
}

export interface RouteListEntryInput {
  route: string
  weight?: number
  backup?: boolean
}

/** The body of POST /route-lists. */
export interface RouteListInput {
  domain?: string | null
  stream?: Stream | null
  routes: RouteListEntryInput[]
}

export interface RouteListView {
  id: string
  domain: string | null
  stream: Stream | null
  routes: Required<RouteListEntryInput>[]
  created_at: string
}

export function showRouteLists(
  desk: RouteListDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<RouteListView>> {
  const owner = ownerOf(caller)
  return readPage('routeList', request, (page) => listRouteLists(desk.database, owner, page), toView)
}

/** @throws {ProductError} not_found */
export async function showRouteList(desk: RouteListDesk, caller: Caller, id: string): Promise<RouteListView> {
  const uuid = parseId('routeList', id)
  const list = uuid && (await findRouteList(desk.database, ownerOf(caller), uuid))
  if (!list) throw new ProductError('not_found')
  return toView(list)
}

/** @throws {ProductError} invalid_request, conflict */
export async function addRouteList(
  desk: RouteListDesk,
  caller: Caller,
  input: RouteListInput,
): Promise<RouteListView> {
  const owner = ownerOf(caller)
  const domain = input.domain == null ? null : parseDomain(input.domain)
  if (domain !== null && !domain.ok) throw invalidRequest([{ path: '/domain', message: domain.message }])
  const routes = await readEntries(desk, owner, input.routes)
  const added = await insertRouteList(desk.database, {
    id: desk.nextId(),
    tenantId: owner,
    domain: domain?.value ?? null,
    stream: input.stream ?? null,
    routes,
  })
  if (added === 'doubled')
    throw conflict('exists', {
      detail: 'There is a list for this domain and stream already: change it by PATCH /route-lists/:id.',
    })
  if (added === 'full')
    throw conflict('full', { detail: `There are ${maxRouteLists} lists already; delete some.` })
  desk.wake.send('routes')
  return toView(added)
}

/** @throws {ProductError} not_found, invalid_request */
export async function changeRouteList(
  desk: RouteListDesk,
  caller: Caller,
  id: string,
  input: Partial<Pick<RouteListInput, 'routes'>>,
): Promise<RouteListView> {
  const owner = ownerOf(caller)
  const uuid = parseId('routeList', id)
  const known = uuid && (await findRouteList(desk.database, owner, uuid))
  if (!known) throw new ProductError('not_found')
  if (input.routes === undefined) return toView(known)
  const routes = await readEntries(desk, owner, input.routes)
  const changed = await updateRouteList(desk.database, owner, uuid, routes)
  if (!changed) throw new ProductError('not_found')
  desk.wake.send('routes')
  return toView(changed)
}

/** @throws {ProductError} not_found */
export async function removeRouteList(desk: RouteListDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('routeList', id)
  if (uuid === null || !(await deleteRouteList(desk.database, ownerOf(caller), uuid))) {
    throw new ProductError('not_found')
  }
  desk.wake.send('routes')
}

/** @throws {ProductError} invalid_request with the paths of what is wrong */
async function readEntries(
  desk: RouteListDesk,
  owner: Uuid | null,
  inputs: readonly RouteListEntryInput[],
): Promise<RouteListEntry[]> {
  const entries = inputs.map(({ route, weight = 1, backup = false }) => ({ route, weight, isBackup: backup }))
  const names = entries.map((entry) => entry.route)
  const made = await findRouteNames(desk.database, owner, names)
  const kinds = new Map(made.map(({ name, kind }) => [name, kind]))
  for (const name of ['capture', desk.delivery]) if (isBuiltInRoute(name)) kinds.set(name, name)
  const faults: FieldFault[] = []
  for (const [i, name] of names.entries()) {
    const message = !kinds.has(name)
      ? `There is no route ${JSON.stringify(name)}: see GET /routes, or make it by POST /routes.`
      : names.indexOf(name) < i
        ? `${name} is in the list already.`
        : // Mail that fails over into the inbox would be lost without a word.
          kinds.get(name) === 'capture' && names.length > 1
          ? `${name} keeps mail in the inbox: it can only be alone in a list.`
          : null
    if (message !== null) faults.push({ path: `/routes/${i}/route`, message })
  }
  if (faults.length === 0 && entries.every((entry) => entry.isBackup)) {
    faults.push({ path: '/routes', message: 'At least one route must be no backup.' })
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return entries
}

function toView(list: StoredRouteList): RouteListView {
  return {
    id: formatId('routeList', list.id),
    domain: list.domain,
    stream: list.stream,
    routes: list.routes.map(({ route, weight, isBackup }) => ({ route, weight, backup: isBackup })),
    created_at: list.createdAt.toISOString(),
  }
}
