/**
 * Named routes, as people manage them. A route without a tenant is the operator's: tenants see it and cannot change it. What workers
 * need of all of them is read at once by `readRoutePlan` (route-plan.ts).
 */
import type { RouteKind, Uuid } from '@valija/core'
import { asOperator, asTenant, type Database } from './database.ts'
import type { TransactionClient } from './generated/prisma/internal/prismaNamespace.ts'
import type { RouteModel } from './generated/prisma/models/Route.ts'
import type { Page } from './keys.ts'
import { isUniqueViolation } from './tenants.ts'

export const routeTlsModes = ['implicit', 'required', 'opportunistic', 'off'] as const
export type RouteTls = (typeof routeTlsModes)[number]
export const returnPathKinds = ['verp', 'from', 'fixed'] as const
export type ReturnPathKind = (typeof returnPathKinds)[number]

/** What can be set of a route. */
export interface RouteConfig {
  /** Of a smarthost; else null, as port and TLS. */
  host: string | null
  port: number | null
  tls: RouteTls | null
  username: string | null
  /** Sealed for `route:<id>`. */
  password: Buffer | null
  returnPath: ReturnPathKind
  /** Of the return path `fixed`; else null. */
  returnPathAddress: string | null
  rewritesIds: boolean
  /** Sources that it leaves from; null: the usual ones. */
  pool: string | null
  /** The guard against private networks judges its host. */
  isGuarded: boolean
  state: 'enabled' | 'paused'
  /** `login_refused`, or `manual`; null while it is enabled. */
  pausedReason: string | null
  pausedReply: string | null
  /** When it is enabled again by itself; null: never. */
  pausedUntil: Date | null
}

export interface StoredRoute extends RouteConfig {
  id: Uuid
  /** Null: the operator's. */
  tenantId: Uuid | null
  name: string
  kind: RouteKind
  createdAt: Date
}

export type NewRoute = Omit<StoredRoute, 'createdAt'>

/** Runs Prisma calls with the rights of whoever owns the rows: a tenant, or the operator (null). */
export function asOwner<T>(
  database: Database,
  owner: Uuid | null,
  work: (prisma: TransactionClient) => Promise<T>,
): Promise<T> {
  return owner === null ? asOperator(database, work) : asTenant(database, owner, work)
}

/** A tenant's own routes and the operator's; for the operator his own. Newest first. */
export async function listRoutes(database: Database, owner: Uuid | null, page: Page): Promise<StoredRoute[]> {
  const rows = await asOwner(database, owner, (prisma) =>
    prisma.route.findMany({
      where: { ...visibleTo(owner), ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredRoute)
}

export async function findRoute(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
): Promise<StoredRoute | null> {
  const row = await asOwner(database, owner, (prisma) =>
    prisma.route.findFirst({ where: { id, ...visibleTo(owner) } }),
  )
  return row && toStoredRoute(row)
}

/** The names among these that mails of the owner can take; the operator's lists are for all tenants, so only his own are. */
export async function findRouteNames(
  database: Database,
  owner: Uuid | null,
  names: readonly string[],
): Promise<{ name: string; kind: RouteKind }[]> {
  const rows = await asOwner(database, owner, (prisma) =>
    prisma.route.findMany({
      where: { name: { in: [...names] }, ...visibleTo(owner) },
      select: { name: true, kind: true },
    }),
  )
  return rows.map(({ name, kind }) => ({ name, kind: kind as RouteKind }))
}

/** Routes of one owner: every worker has all of them in memory. */
export const maxRoutes = 100

/** @returns `doubled` when the owner, or for a tenant the operator, has a route of that name; `full` beyond `maxRoutes` */
export async function insertRoute(
  database: Database,
  route: NewRoute,
): Promise<StoredRoute | 'doubled' | 'full'> {
  const { tenantId, name } = route
  try {
    return await asOwner(database, tenantId, async (prisma) => {
      const doubled = await prisma.route.findFirst({
        where: { name, ...visibleTo(tenantId) },
        select: { id: true },
      })
      if (doubled !== null) return 'doubled' as const
      if ((await prisma.route.count({ where: { tenantId } })) >= maxRoutes) return 'full' as const
      return toStoredRoute(
        await prisma.route.create({ data: { ...route, password: toBytes(route.password) } }),
      )
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

/**
 * Changes a route after `decide` has seen it with its row locked.
 *
 * @param decide what to write; what it throws undoes everything
 * @returns null when the owner has no such route
 */
export async function updateRoute(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
  decide: (present: StoredRoute) => Partial<RouteConfig>,
): Promise<StoredRoute | null> {
  return asOwner(database, owner, async (prisma) => {
    // Row-level security lets nobody lock what he may not change, so a tenant finds nothing of the operator's here.
    await prisma.$queryRaw`SELECT FROM valija.routes WHERE id = ${id}::uuid FOR UPDATE`
    const present = await prisma.route.findFirst({ where: { id, tenantId: owner } })
    if (present === null) return null
    const { password, ...changes } = decide(toStoredRoute(present))
    const data = { ...changes, ...(password !== undefined && { password: toBytes(password) }) }
    return toStoredRoute(await prisma.route.update({ where: { id }, data }))
  })
}

/** @returns whether there was one */
export async function deleteRoute(database: Database, owner: Uuid | null, id: Uuid): Promise<boolean> {
  const { count } = await asOwner(database, owner, (prisma) =>
    prisma.route.deleteMany({ where: { id, tenantId: owner } }),
  )
  return count > 0
}

/** Who would miss a route: what names it, over all tenants where it is the operator's. */
export interface RouteUse {
  lists: number
  keys: number
  /** Whether mail that named it is on its way. */
  hasMail: boolean
}

/** Tenants with a route of their own of that name mean theirs. */
export async function findRouteUse(
  database: Database,
  { tenantId, name }: Pick<StoredRoute, 'tenantId' | 'name'>,
): Promise<RouteUse> {
  const isMeant = (table: string) => `CASE WHEN $1::uuid IS NOT NULL THEN ${table}.tenant_id = $1
    ELSE ${table}.tenant_id IS NULL OR NOT EXISTS (SELECT FROM valija.routes AS own WHERE own.tenant_id = ${table}.tenant_id AND own.name = $2) END`
  const result = await database.engine.query<RouteUse>(
    `SELECT
       (SELECT count(*) FROM valija.route_lists AS list
         WHERE list.routes @> jsonb_build_array(jsonb_build_object('route', $2::text)) AND ${isMeant('list')}) AS lists,
       (SELECT count(*) FROM valija.api_keys AS key WHERE key.route = $2 AND key.revoked_at IS NULL AND ${isMeant('key')}) AS keys,
       EXISTS (SELECT FROM valija.deliveries AS delivery WHERE delivery.route = $2 AND ${isMeant('delivery')}) AS "hasMail"`,
    [tenantId, name],
  )
  return result.rows[0]!
}

/** A route of the tenant's own goes before the operator's of the same name, so a name means one route. */
function visibleTo(owner: Uuid | null) {
  return owner === null ? { tenantId: null } : { OR: [{ tenantId: owner }, { tenantId: null }] }
}

function toBytes(sealed: Buffer | null) {
  return sealed && new Uint8Array(sealed)
}

function toStoredRoute(row: RouteModel): StoredRoute {
  // The database's CHECKs know no other words.
  return {
    ...row,
    kind: row.kind as RouteKind,
    tls: row.tls as RouteTls | null,
    returnPath: row.returnPath as ReturnPathKind,
    state: row.state as RouteConfig['state'],
    password: row.password && Buffer.from(row.password),
  }
}
