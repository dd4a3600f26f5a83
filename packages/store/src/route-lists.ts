/** Lists of routes: which ones the mails of a tenant or of one of its sender domains take, by stream. */
import type { RouteListEntry, Stream, Uuid } from '@valija/core'
import type { Database } from './database.ts'
import type { RouteListModel } from './generated/prisma/models/RouteList.ts'
import type { Page } from './keys.ts'
import { asOwner } from './routes.ts'
import { isUniqueViolation } from './tenants.ts'

export interface StoredRouteList {
  id: Uuid
  /** Null: the operator's, for all tenants that have none. */
  tenantId: Uuid | null
  /** Sender domain, with what lies below it; null: all. */
  domain: string | null
  /** Null: both. */
  stream: Stream | null
  routes: RouteListEntry[]
  createdAt: Date
}

export type NewRouteList = Omit<StoredRouteList, 'createdAt'>

/** The owner's lists, newest first. */
export async function listRouteLists(
  database: Database,
  owner: Uuid | null,
  page: Page,
): Promise<StoredRouteList[]> {
  const rows = await asOwner(database, owner, (prisma) =>
    prisma.routeList.findMany({
      where: { tenantId: owner, ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredList)
}

export async function findRouteList(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
): Promise<StoredRouteList | null> {
  const row = await asOwner(database, owner, (prisma) =>
    prisma.routeList.findFirst({ where: { id, tenantId: owner } }),
  )
  return row && toStoredList(row)
}

/** Lists of one owner: every process has all of them in memory. */
export const maxRouteLists = 500

/** @returns `doubled` when the owner has a list for the same domain and stream; `full` beyond `maxRouteLists` */
export async function insertRouteList(
  database: Database,
  list: NewRouteList,
): Promise<StoredRouteList | 'doubled' | 'full'> {
  const { domain, stream, routes, ...rest } = list
  const data = { ...rest, domain: domain ?? '', stream: stream ?? '', routes: toJson(routes) }
  try {
    return await asOwner(database, list.tenantId, async (prisma) => {
      const count = await prisma.routeList.count({ where: { tenantId: list.tenantId } })
      return count >= maxRouteLists ? 'full' : toStoredList(await prisma.routeList.create({ data }))
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

/** @returns null when the owner has no such list */
export async function updateRouteList(
  database: Database,
  owner: Uuid | null,
  id: Uuid,
  routes: readonly RouteListEntry[],
): Promise<StoredRouteList | null> {
  const rows = await asOwner(database, owner, (prisma) =>
    prisma.routeList.updateManyAndReturn({
      where: { id, tenantId: owner },
      data: { routes: toJson(routes) },
    }),
  )
  return rows[0] ? toStoredList(rows[0]) : null
}

/** @returns whether there was one */
export async function deleteRouteList(database: Database, owner: Uuid | null, id: Uuid): Promise<boolean> {
  const { count } = await asOwner(database, owner, (prisma) =>
    prisma.routeList.deleteMany({ where: { id, tenantId: owner } }),
  )
  return count > 0
}

interface StoredEntry {
  route: string
  weight: number
  backup: boolean
}

function toJson(routes: readonly RouteListEntry[]) {
  return routes.map(({ route, weight, isBackup }): { [key in keyof StoredEntry]: StoredEntry[key] } => ({
    route,
    weight,
    backup: isBackup,
  }))
}

/** @param json as `toJson` wrote it */
export function readListEntries(json: unknown): RouteListEntry[] {
  return (json as StoredEntry[]).map(({ route, weight, backup }) => ({ route, weight, isBackup: backup }))
}

function toStoredList(row: RouteListModel): StoredRouteList {
  return {
    ...row,
    domain: row.domain || null,
    stream: (row.stream || null) as Stream | null,
    routes: readListEntries(row.routes),
  }
}
