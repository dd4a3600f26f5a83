/**
 * What waits, and where: counts of deliveries by tenant, and the state of receiving sites. For the operator; the counts read the
 * whole of `deliveries`, which is as large as what waits.
 */
import type { PartHold, SiteCondition, SitePace, ThrottleLimits, Uuid } from '@valija/core'
import type pg from 'pg'
import type { SiteIdentity } from './shaping-state.ts'

export interface QueueCounts {
  /** Nobody works on them; of these, `due` could be. */
  waiting: number
  due: number
  admitted: number
  leased: number
  /** Since when the one that has waited longest has been due. */
  oldestDueAt: Date | null
}

export interface TenantQueue extends QueueCounts {
  tenantId: Uuid
  name: string | null
}

/** One line per tenant that has something, the largest first. */
export async function readTenantQueues(pool: pg.Pool): Promise<TenantQueue[]> {
  const result = await pool.query<TenantQueue>(
    `SELECT d.tenant_id AS "tenantId", t.name, d.waiting, d.due, d.admitted, d.leased, d.oldest_due_at AS "oldestDueAt"
     FROM (
       SELECT tenant_id, count(*) AS total, count(*) FILTER (WHERE state = 'waiting')::int AS waiting,
         count(*) FILTER (WHERE state = 'waiting' AND due_at <= now())::int AS due,
         count(*) FILTER (WHERE state = 'admitted')::int AS admitted, count(*) FILTER (WHERE state = 'leased')::int AS leased,
         min(due_at) FILTER (WHERE state <> 'leased' AND due_at <= now()) AS oldest_due_at
       FROM valija.deliveries GROUP BY tenant_id) AS d
     LEFT JOIN valija.tenants AS t ON t.id = d.tenant_id
     ORDER BY d.total DESC, d.tenant_id`,
  )
  return result.rows
}

export interface QueuedSite extends SiteIdentity {
  id: string
  limits: ThrottleLimits
  pace: SitePace | null
  condition: SiteCondition
  /** Of all workers, open or kept; relays' are not counted. */
  connections: number
}

/** Sites that are not as they should be, and those that are connected to. */
export async function readQueuedSites(pool: pg.Pool, limit: number): Promise<QueuedSite[]> {
  const result = await pool.query<QueuedSite>(
    `${siteSql}
     WHERE s.condition <> 'ok' OR p.connections > 0
     ORDER BY array_position(ARRAY['suspended', 'slowed', 'ok'], s.condition), s.since DESC NULLS LAST, p.connections DESC, s.key
     LIMIT $1`,
    [limit],
  )
  return result.rows
}

export async function findQueuedSite(pool: pg.Pool, id: string): Promise<QueuedSite | null> {
  const result = await pool.query<QueuedSite>(`${siteSql} WHERE s.id = $1`, [id])
  return result.rows[0] ?? null
}

const siteSql = `
  SELECT s.id, s.key, s.provider, s.site, s.source, s.kind, s.limits, s.pace, s.condition, coalesce(p.connections, 0)::int AS connections
  FROM valija.shaping_sites AS s
  LEFT JOIN (
    SELECT scope_key, sum(connections) AS connections FROM valija.shaping_permits WHERE valid_until > now() GROUP BY scope_key
  ) AS p ON p.scope_key = s.key`

export interface QueuedHold {
  siteId: string | null
  provider: string | null
  site: string | null
  tenantId: Uuid
  part: string
  hold: PartHold
}

/** What rules hold back of single tenants and sending domains now. */
export async function readQueuedHolds(pool: pg.Pool, limit: number): Promise<QueuedHold[]> {
  const result = await pool.query<QueuedHold>(
    `SELECT s.id AS "siteId", s.provider, s.site, h.tenant_id AS "tenantId", h.part, h.hold
     FROM valija.shaping_holds AS h LEFT JOIN valija.shaping_sites AS s ON s.key = h.scope_key
     WHERE h.until > now() ORDER BY h.until DESC, h.tenant_id, h.part LIMIT $1`,
    [limit],
  )
  return result.rows
}

/** How many sites of each provider are not as they should be, for metrics; null: sites that no rule knows. */
export async function countSiteConditions(
  pool: pg.Pool,
): Promise<{ provider: string | null; condition: SiteCondition; count: number }[]> {
  const result = await pool.query<{ provider: string | null; condition: SiteCondition; count: number }>(
    `SELECT provider, condition, count(*)::int AS count FROM valija.shaping_sites WHERE condition <> 'ok' GROUP BY 1, 2`,
  )
  return result.rows
}
