/** All routes, lists and sources at once: what workers choose by, and the API looks names up in, without a query per mail. */
import type { RouteKind, RouteListEntry, Stream, Uuid, WarmUpPlan } from '@valija/core'
import type pg from 'pg'
import type { RouteHealth } from './route-health.ts'
import { readListEntries } from './route-lists.ts'
import type { StoredRoute } from './routes.ts'
import type { SourceConfig } from './source-ips.ts'

export type PlannedRoute = Omit<StoredRoute, 'createdAt'>

export interface PlannedList {
  tenantId: Uuid | null
  domain: string | null
  stream: Stream | null
  routes: RouteListEntry[]
}

export interface PlannedSource extends SourceConfig {
  id: Uuid
  address: string
}

export interface RoutePlan {
  routes: PlannedRoute[]
  lists: PlannedList[]
  sources: PlannedSource[]
  /** Routes that cannot be used now. */
  health: RouteHealth[]
}

/** Reads them as of one moment: one statement. */
export async function readRoutePlan(engine: pg.Pool): Promise<RoutePlan> {
  const result = await engine.query<{
    routes: RouteRow[]
    lists: ListRow[]
    sources: SourceRow[]
    health: HealthRow[]
  }>({
    name: 'read-route-plan',
    text: `SELECT
      (SELECT coalesce(json_agg(row), '[]') FROM (
        SELECT id, tenant_id, name, kind, host, port, tls, username, encode(password, 'base64') AS password, return_path,
          return_path_address, rewrites_ids, pool, is_guarded, state, paused_reason, paused_reply,
          (extract(epoch FROM paused_until) * 1000)::float8 AS paused_until_ms
        FROM valija.routes) AS row) AS routes,
      (SELECT coalesce(json_agg(row), '[]') FROM (
        SELECT tenant_id, nullif(domain, '') AS domain, nullif(stream, '') AS stream, routes FROM valija.route_lists) AS row) AS lists,
      (SELECT coalesce(json_agg(row), '[]') FROM (
        SELECT id, address, bind, ipv6, ehlo_name, pool, weight, state, warm_up FROM valija.source_ips) AS row) AS sources,
      (SELECT coalesce(json_agg(row), '[]') FROM (
        SELECT route, condition, reply, (extract(epoch FROM since) * 1000)::float8 AS since_ms,
          (extract(epoch FROM probe_at - now()) * 1000)::float8 AS probe_in_ms FROM valija.route_health AS health
        -- What is left of a deleted tenant's routes concerns nobody.
        WHERE route = 'installation' OR EXISTS (SELECT FROM valija.routes WHERE id::text = health.route)) AS row) AS health`,
  })
  const { routes, lists, sources, health } = result.rows[0]!
  return {
    routes: routes.map(toRoute),
    lists: lists.map((row) => ({
      tenantId: row.tenant_id,
      domain: row.domain,
      stream: row.stream,
      routes: readListEntries(row.routes),
    })),
    sources: sources.map(({ ehlo_name, warm_up, ...row }) => ({
      ...row,
      ehloName: ehlo_name,
      warmUp: warm_up,
    })),
    health: health.map((row) => ({
      route: row.route,
      condition: row.condition,
      reply: row.reply,
      since: new Date(row.since_ms),
      probeInMs: row.probe_in_ms,
    })),
  }
}

interface RouteRow {
  id: Uuid
  tenant_id: Uuid | null
  name: string
  kind: RouteKind
  host: string | null
  port: number | null
  tls: StoredRoute['tls']
  username: string | null
  password: string | null
  return_path: StoredRoute['returnPath']
  return_path_address: string | null
  rewrites_ids: boolean
  pool: string | null
  is_guarded: boolean
  state: StoredRoute['state']
  paused_reason: string | null
  paused_reply: string | null
  paused_until_ms: number | null
}

interface ListRow {
  tenant_id: Uuid | null
  domain: string | null
  stream: Stream | null
  routes: unknown
}

interface SourceRow extends Omit<PlannedSource, 'ehloName' | 'warmUp'> {
  ehlo_name: string
  warm_up: WarmUpPlan | null
}

interface HealthRow {
  route: string
  condition: RouteHealth['condition']
  reply: string | null
  since_ms: number
  probe_in_ms: number
}

function toRoute(row: RouteRow): PlannedRoute {
  const { id, name, kind, host, port, tls, username, pool, state } = row
  return {
    id,
    tenantId: row.tenant_id,
    name,
    kind,
    host,
    port,
    tls,
    username,
    password: row.password === null ? null : Buffer.from(row.password, 'base64'),
    returnPath: row.return_path,
    returnPathAddress: row.return_path_address,
    rewritesIds: row.rewrites_ids,
    pool,
    isGuarded: row.is_guarded,
    state,
    pausedReason: row.paused_reason,
    pausedReply: row.paused_reply,
    pausedUntil: row.paused_until_ms === null ? null : new Date(row.paused_until_ms),
  }
}
