/** What waits and which receivers are slowed, for the operator; and lifting a suspension before its time. */
import {
  conditionOf,
  formatId,
  liftSuspension,
  noHold,
  ProductError,
  paceLimits,
  type SiteCondition,
  steadyPace,
  type ThrottleLimits,
} from '@valija/core'
import {
  asEngine,
  type Database,
  findQueuedSite,
  lockHolds,
  lockPaces,
  type QueueCounts,
  type QueuedSite,
  readHolds,
  readQueuedHolds,
  readQueuedSites,
  readTenantQueues,
  releaseHeld,
  type Wake,
  writeHolds,
  writePaces,
} from '@valija/store'

export interface QueueDesk {
  database: Database
  wake: Wake
  clock: { nowMs(): number }
}

export interface CountsView {
  waiting: number
  due: number
  admitted: number
  leased: number
  oldest_due_at: string | null
}

export interface LimitsView {
  connections: number
  mails_per_connection: number
  mails_per_second: number | null
}

export interface SiteView {
  id: string
  provider: string | null
  site: string
  source: string
  state: SiteCondition
  since: string | null
  until: string | null
  reason: string | null
  reply: string | null
  limits: LimitsView
  configured: LimitsView
  connections: number | null
}

export interface QueueView extends CountsView {
  tenants: (CountsView & { id: string; name: string | null })[]
  sites: SiteView[]
  holds: {
    provider: string | null
    site: string | null
    tenant_id: string
    domain: string | null
    until: string
    reason: string | null
    reply: string | null
  }[]
}

const mostTenants = 100
const mostSites = 200
const mostHolds = 100

export async function showQueue({ database, clock }: QueueDesk): Promise<QueueView> {
  const [tenants, sites, holds] = await Promise.all([
    readTenantQueues(database.engine),
    readQueuedSites(database.engine, mostSites),
    readQueuedHolds(database.engine, mostHolds),
  ])
  return {
    ...toCounts(addUp(tenants)),
    tenants: tenants
      .slice(0, mostTenants)
      .map((tenant) => ({ id: formatId('tenant', tenant.tenantId), name: tenant.name, ...toCounts(tenant) })),
    sites: sites.map((site) => toSiteView(site, clock.nowMs())),
    holds: holds.map(({ provider, site, tenantId, part, hold }) => ({
      provider,
      site,
      tenant_id: formatId('tenant', tenantId),
      domain: part === '*' ? null : part,
      until: new Date(hold.untilMs).toISOString(),
      reason: hold.reason,
      reply: hold.reply,
    })),
  }
}

/**
 * Lets a site be tried again now, by one connection at first, and lifts what is held back there of single tenants and domains.
 * Nothing happens to a site that is not slowed.
 *
 * @param id as `GET /queue` shows it
 * @throws {ProductError} not_found
 */
export async function resumeSite({ database, wake, clock }: QueueDesk, id: string): Promise<SiteView> {
  const found = await findQueuedSite(database.engine, id)
  if (found === null) throw new ProductError('not_found')
  const holds = await readHolds(database.engine, [found.key])
  await asEngine(database, async (client) => {
    const [site] = await lockPaces(client, [found.key])
    if (site?.pace) {
      const pace = liftSuspension(site.pace)
      await writePaces(client, [{ key: site.key, pace, condition: conditionOf(pace, clock.nowMs()) }])
    }
    if (holds.length === 0) return
    const locked = await lockHolds(client, holds, noHold)
    // Over rather than gone: workers read what is there, and the sweep tells the tenants.
    const over = Math.floor(clock.nowMs())
    await writeHolds(
      client,
      locked.map((one) => ({
        ...one,
        hold: { ...one.hold, hits: {}, untilMs: Math.min(one.hold.untilMs, over) },
      })),
    )
  })
  wake.send('shaping', `pace operator ${found.key}`)
  // What was handed back until the end of the suspension is due now.
  const parts = holds.map(({ part }) => (part === '*' ? 'tenant' : part))
  const waitingFor = [
    `site:${found.key}`,
    ...parts.map((part) => `held_at:${found.provider ?? found.site} ${part}`),
  ]
  for (const hold of new Set(waitingFor)) await releaseHeld(database.engine, hold, null)
  wake.send('dispatch')
  const resumed = await findQueuedSite(database.engine, id)
  return toSiteView(resumed ?? found, clock.nowMs())
}

function addUp(tenants: readonly QueueCounts[]): QueueCounts {
  const sum = (pick: (counts: QueueCounts) => number) => tenants.reduce((total, one) => total + pick(one), 0)
  const oldest = tenants.flatMap(({ oldestDueAt }) => oldestDueAt?.getTime() ?? [])
  return {
    waiting: sum(({ waiting }) => waiting),
    due: sum(({ due }) => due),
    admitted: sum(({ admitted }) => admitted),
    leased: sum(({ leased }) => leased),
    oldestDueAt: oldest.length === 0 ? null : new Date(Math.min(...oldest)),
  }
}

function toCounts({ waiting, due, admitted, leased, oldestDueAt }: QueueCounts): CountsView {
  return { waiting, due, admitted, leased, oldest_due_at: oldestDueAt?.toISOString() ?? null }
}

function toSiteView(site: QueuedSite, nowMs: number): SiteView {
  const pace = site.pace ?? steadyPace
  const now = paceLimits(pace, site.limits, nowMs)
  const state = conditionOf(pace, nowMs)
  const ends = [now.pausedUntilMs, ...pace.effects.map(({ untilMs }) => untilMs)].filter((at) => at > nowMs)
  const isWell = state === 'ok'
  return {
    id: site.id,
    provider: site.provider,
    site: site.site,
    source: site.source,
    state,
    since: isWell || pace.sinceMs === null ? null : new Date(pace.sinceMs).toISOString(),
    until: isWell || ends.length === 0 ? null : new Date(Math.max(...ends)).toISOString(),
    reason: isWell ? null : (pace.cause?.reason ?? null),
    reply: isWell ? null : (pace.cause?.reply ?? null),
    limits: toLimits(now),
    configured: toLimits(site.limits),
    connections: site.kind === 'relay' ? null : site.connections,
  }
}

function toLimits({ connections, mailsPerConnection, mailsPerSecond }: ThrottleLimits): LimitsView {
  return { connections, mails_per_connection: mailsPerConnection, mails_per_second: mailsPerSecond }
}
