/**
 * Writing down what a worker saw of sites: one transaction folds it into the stored paces and holds, which other workers change
 * as well, and tells the tenants whose mail met it: once when a site is throttled, once when it has recovered (DESIGN 4.16).
 */
import {
  conditionOf,
  forgetOld,
  type IdSource,
  isNotable,
  noHold,
  type PaceEvent,
  type PartHold,
  type SitePace,
  startingPace,
  stepHold,
  stepPace,
  type ThrottleLimits,
  type ThrottleRule,
  type Uuid,
} from '@valija/core'
import {
  addWitnesses,
  asEngine,
  type Database,
  dismissWitnesses,
  lockHolds,
  lockPaces,
  type NewEvent,
  noteSites,
  readSiteIdentities,
  type ShapingTransaction,
  type SiteIdentity,
  type StoredHold,
  takeEndedHolds,
  tellWitnesses,
  writeEvents,
  writeHolds,
  writePaces,
} from '@valija/store'

/** What was seen of one site, in order. */
export interface SeenOfSite {
  site: SiteIdentity & { limits: ThrottleLimits }
  events: readonly (PaceEvent & { atMs: number })[]
  /** Tenants whose mail met what slows it. */
  witnesses: readonly Uuid[]
  /** Matches of rules that blame a tenant or a sending domain. */
  matches: readonly PartMatch[]
}

export interface PartMatch {
  tenantId: Uuid
  part: string
  rule: ThrottleRule
  reason: PaceEvent['reason']
  reply: string | null
  atMs: number
}

export interface Committed {
  paces: ReadonlyMap<string, SitePace>
  holds: readonly StoredHold[]
  hasWebhooks: boolean
}

export interface CommitParts {
  database: Database
  nextId: IdSource
  nowMs: () => number
}

interface Told {
  scopeKey: string
  tenantId: Uuid
}

type Locked = SiteIdentity & { pace: SitePace | null; limits: ThrottleLimits }

/** Nothing is known: the minimum rate, where the site has one at all (DESIGN 4.15). */
export function paceOrStart(pace: SitePace | null | undefined, limits: ThrottleLimits): SitePace {
  return pace ?? startingPace(limits)
}

/** Folds what was seen into what is stored. Looks at every named site, so one without events is only brought up to date. */
export async function commitSeen(parts: CommitParts, seen: readonly SeenOfSite[]): Promise<Committed> {
  await noteSites(
    parts.database.engine,
    seen.map(({ site }) => site),
  )
  return asEngine(parts.database, async (client) => {
    const sites = await lockPaces(
      client,
      seen.map(({ site }) => site.key),
    )
    const events: NewEvent[] = []
    const witnesses = seen.flatMap(({ site, witnesses }) =>
      witnesses.map((tenantId) => ({ scopeKey: site.key, tenantId })),
    )
    if (witnesses.length > 0) await addWitnesses(client, witnesses)
    const paces = await stepPaces(parts, client, sites, seen, events)
    const holds = await stepHolds(parts, client, sites, seen, events)
    const hasWebhooks = events.length > 0 && (await writeEvents(client, events))
    return { paces, holds, hasWebhooks }
  })
}

async function stepPaces(
  parts: CommitParts,
  client: ShapingTransaction,
  sites: readonly Locked[],
  seen: readonly SeenOfSite[],
  events: NewEvent[],
): Promise<Map<string, SitePace>> {
  const nowMs = parts.nowMs()
  const eventsOf = new Map(seen.map((one) => [one.site.key, one.events]))
  const paces = new Map<string, SitePace>()
  for (const site of sites)
    paces.set(site.key, foldSeen(site.pace, site, eventsOf.get(site.key) ?? [], nowMs))
  await writePaces(
    client,
    [...paces].map(([key, pace]) => ({ key, pace, condition: conditionOf(pace, nowMs) })),
  )
  const keysWhere = (isMeant: (pace: SitePace) => boolean) =>
    [...paces].filter(([, pace]) => isMeant(pace)).map(([key]) => key)
  const tell = async (type: 'destination.throttled' | 'destination.recovered', told: readonly Told[]) => {
    for (const { scopeKey, tenantId } of told) {
      const site = sites.find(({ key }) => key === scopeKey)
      const pace = paces.get(scopeKey)
      if (site && pace) events.push(paceEvent(parts, type, tenantId, site, pace))
    }
  }
  const notable = keysWhere((pace) => isNotable(pace, nowMs))
  if (notable.length > 0) await tell('destination.throttled', await tellWitnesses(client, notable))
  const wasWrong = new Set(
    sites.filter(({ pace }) => pace !== null && pace.cause !== null).map(({ key }) => key),
  )
  const recovered = keysWhere((pace) => pace.cause === null).filter((key) => wasWrong.has(key))
  if (recovered.length > 0) await tell('destination.recovered', await dismissWitnesses(client, recovered))
  return paces
}

/** A pace after what was seen, in order, and what time has done to it since. */
export function foldSeen(
  pace: SitePace | null,
  { kind, limits }: { kind: 'mx' | 'relay'; limits: ThrottleLimits },
  events: SeenOfSite['events'],
  nowMs: number,
): SitePace {
  let folded = paceOrStart(pace, limits)
  for (const event of events) folded = stepPace(folded, event, { kind, limits, nowMs: event.atMs })
  return forgetOld(folded, nowMs)
}

async function stepHolds(
  parts: CommitParts,
  client: ShapingTransaction,
  sites: readonly Locked[],
  seen: readonly SeenOfSite[],
  events: NewEvent[],
): Promise<StoredHold[]> {
  const matches = seen.flatMap(({ site, matches }) =>
    matches.map((match) => ({ ...match, scopeKey: site.key })),
  )
  if (matches.length === 0) return []
  const stored = await lockHolds(client, matches, noHold)
  const stepped = stored.map((one) => {
    const own = matches.filter((match) => isSamePart(match, one))
    const hold = own.reduce(
      (held: PartHold, { rule, reason, reply, atMs }) => stepHold(held, rule, { reason, reply, nowMs: atMs }),
      one.hold,
    )
    return { ...one, hold, wasHeld: one.hold.untilMs > parts.nowMs() }
  })
  await writeHolds(client, stepped)
  for (const { wasHeld, ...one } of stepped) {
    const site = sites.find(({ key }) => key === one.scopeKey)
    if (site && !wasHeld && one.hold.untilMs > 0) {
      events.push(holdEvent(parts, 'destination.throttled', site, one))
    }
  }
  return stepped
}

function isSamePart(
  one: { scopeKey: string; tenantId: Uuid; part: string },
  other: { scopeKey: string; tenantId: Uuid; part: string },
): boolean {
  return one.scopeKey === other.scopeKey && one.tenantId === other.tenantId && one.part === other.part
}

/** Ends holds whose time is over, and tells their tenants. @returns the ended ones, and whether a webhook has to be told */
export async function endHolds(
  parts: CommitParts,
): Promise<{ ended: readonly StoredHold[]; hasWebhooks: boolean }> {
  return asEngine(parts.database, async (client) => {
    const ended = await takeEndedHolds(client)
    if (ended.length === 0) return { ended, hasWebhooks: false }
    const sites = await readSiteIdentities(client, [...new Set(ended.map(({ scopeKey }) => scopeKey))])
    const events = ended.flatMap((one) => {
      const site = sites.find(({ key }) => key === one.scopeKey)
      return site ? [holdEvent(parts, 'destination.recovered', site, one)] : []
    })
    return { ended, hasWebhooks: events.length > 0 && (await writeEvents(client, events)) }
  })
}

type TellType = 'destination.throttled' | 'destination.recovered'

function paceEvent(
  { nextId, nowMs }: CommitParts,
  type: TellType,
  tenantId: Uuid,
  site: SiteIdentity,
  pace: SitePace,
): NewEvent {
  const { cause, pausedUntilMs } = pace
  const isOver = type === 'destination.recovered'
  const data = {
    ...shownSite(site),
    blame: 'source_ip',
    ...(!isOver && {
      reason: cause?.reason ?? null,
      reply: cause?.reply ?? null,
      until: pausedUntilMs > nowMs() ? new Date(pausedUntilMs).toISOString() : null,
    }),
  }
  return { id: nextId(), tenantId, type, messageId: null, createdAtMs: nowMs(), data }
}

function holdEvent(
  { nextId, nowMs }: CommitParts,
  type: TellType,
  site: SiteIdentity,
  { tenantId, part, hold }: StoredHold,
): NewEvent {
  const isOver = type === 'destination.recovered'
  const data = {
    ...shownSite(site),
    blame: part === '*' ? 'tenant' : 'sending_domain',
    ...(part !== '*' && { domain: part }),
    ...(!isOver && { reason: hold.reason, reply: hold.reply, until: new Date(hold.untilMs).toISOString() }),
  }
  return { id: nextId(), tenantId, type, messageId: null, createdAtMs: nowMs(), data }
}

function shownSite({ provider, site, source }: SiteIdentity) {
  return { provider, site, source }
}
