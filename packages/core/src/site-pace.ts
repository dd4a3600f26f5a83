/**
 * How fast a receiving site is worked on beyond its configured limits: the adaptive part of shaping (DESIGN 4.16).
 *
 * Pure: pace × what was seen × time → pace, with times in milliseconds of PostgreSQL's clock. Every worker steps its own copy
 * at once and the stored one soon after; both come out alike, because what is seen of one incident twice changes nothing
 * the second time.
 *
 * A failure costs a pause of seconds and all connections but one. The third within ten minutes costs minutes. After the pause one
 * connection probes; each success that proves something doubles connections and rate until the limits are reached again.
 */
import type { Reason } from './reasons.ts'
import type { Sighting } from './site-sighting.ts'
import type { ThrottleAction, ThrottleLimits, ThrottleRule } from './throttle-policy.ts'

/** What slowed a site, for people. */
export interface PaceCause {
  reason: Reason | null
  /** The reply, or the failure in a sentence; without addresses of recipients. */
  reply: string | null
  atMs: number
}

/** An explicit rule's effect other than a suspension. */
export interface PaceEffect {
  ruleId: string
  action: Exclude<ThrottleAction, { kind: 'suspend' }>
  untilMs: number
}

export interface SitePace {
  /** Null: as many as the limits allow. */
  connections: number | null
  mailsPerSecond: number | null
  /** Nothing begins before this. */
  pausedUntilMs: number
  /** The last pause's length: the next one is twice as long. */
  pauseMs: number
  /** When the last incident began: failures of what had begun before are part of it. */
  incidentMs: number
  /** Those of the last ten minutes that count towards minutes. */
  incidentsMs: readonly number[]
  /** How long each level of the recovery lasts at least, and when the last one was reached. */
  stepMs: number
  steppedMs: number
  /** Connections lost after MAIL, one after the other. */
  lostInRow: number
  /** When replies matched a rule that has not taken effect yet, by the rule's id. */
  hits: Readonly<Record<string, readonly number[]>>
  effects: readonly PaceEffect[]
  /** Null while nothing is wrong. */
  cause: PaceCause | null
  sinceMs: number | null
}

export type SiteCondition = 'ok' | 'slowed' | 'suspended'

export interface PaceContext {
  kind: 'mx' | 'relay'
  limits: ThrottleLimits
  nowMs: number
}

/** What was seen of a site, and what it says. */
export interface PaceEvent {
  sighting: Sighting
  /** When the attempt began. */
  begunMs: number
  /** Mails that the site took since its last incident, as far as whoever saw this knows. */
  takenBefore: number
  /** The explicit rule that a refusal matched, if it is about the site. */
  rule: ThrottleRule | null
  reason: Reason | null
  reply: string | null
}

const minuteMs = 60_000
/** An incident is remembered this long, and so is the length of its pause. */
const memoryMs = 10 * minuteMs
const incidentsForMinutes = 3
/** So many mails taken after an incident outweigh it: three odd replies in a large run are no reason to stop for minutes. */
const mailsThatOutweigh = 500
const longestReflexMs = 5_000
/** A relay is ours: its outage must end as soon as it is back. A site's third failure comes after 6 s at the earliest. */
const firstPauseMs = { mx: 2_000, relay: 250 } as const
const longestPauseMs = 10 * minuteMs
const lostForIncident = 3

/** Mails per second that a site is approached with when nothing is known, and after minutes of throttling. */
export const minimumRate = 1
/** A site without a limit is one again from this rate on. */
const unlimitedFrom = 128
const reflexStepMs = { mx: 1_000, relay: 0 } as const
const carefulStepMs = 15_000

/** Of a site of which nothing is known that would slow it. */
export const steadyPace: SitePace = {
  connections: null,
  mailsPerSecond: null,
  pausedUntilMs: 0,
  pauseMs: 0,
  incidentMs: 0,
  incidentsMs: [],
  stepMs: 0,
  steppedMs: 0,
  lostInRow: 0,
  hits: {},
  effects: [],
  cause: null,
  sinceMs: null,
}

/**
 * Of a site whose state is not there: never seen, or lost. Where the receiver is known to count, that means the minimum rate and
 * not none (DESIGN 4.15): one mail a second, doubling each second that goes well.
 */
export function startingPace(limits: ThrottleLimits): SitePace {
  const isFast = limits.mailsPerSecond === null || limits.mailsPerSecond <= minimumRate
  return isFast ? steadyPace : { ...steadyPace, mailsPerSecond: minimumRate, stepMs: reflexStepMs.mx }
}

/** @returns the same object when nothing has changed */
export function stepPace(pace: SitePace, event: PaceEvent, context: PaceContext): SitePace {
  const kept = forgetOld(pace, context.nowMs)
  switch (event.sighting) {
    case 'working':
      return recover(kept, event, context)
    case 'lost': {
      const lostInRow = kept.lostInRow + 1
      const next = { ...kept, lostInRow }
      return lostInRow < lostForIncident
        ? next
        : fail({ ...next, lostInRow: 0 }, event, context, 'unreachable')
    }
    case 'refused':
      return event.rule === null ? recover(kept, event, context) : applyRule(kept, event.rule, event, context)
    case 'deferred':
      return event.rule === null ? kept : applyRule(kept, event.rule, event, context)
    default: {
      const failed = fail(kept, event, context, event.sighting)
      return event.rule === null ? failed : applyRule(failed, event.rule, event, context)
    }
  }
}

function recover(pace: SitePace, event: PaceEvent, { kind, limits, nowMs }: PaceContext): SitePace {
  // What had begun before the incident proves nothing.
  if (event.begunMs < pace.incidentMs || nowMs < pace.pausedUntilMs) return pace
  const isSlowed = pace.connections !== null || pace.mailsPerSecond !== null
  const calm = pace.lostInRow === 0 ? pace : { ...pace, lostInRow: 0 }
  if (!isSlowed || nowMs < pace.steppedMs + pace.stepMs) return calm
  const connections = doubled(calm.connections, limits.connections)
  const mailsPerSecond = doubled(calm.mailsPerSecond, limits.mailsPerSecond ?? unlimitedFrom)
  const isBack = connections === null && mailsPerSecond === null
  return {
    ...calm,
    connections,
    mailsPerSecond,
    steppedMs: nowMs,
    ...(isBack && kind === 'relay' && { pauseMs: 0 }),
    ...(isBack && calm.effects.length === 0 && { cause: null, sinceMs: null }),
  }
}

/** Null once the limit is reached. */
function doubled(level: number | null, limit: number): number | null {
  return level === null || level * 2 >= limit ? null : level * 2
}

function fail(
  pace: SitePace,
  event: PaceEvent,
  { kind, nowMs }: PaceContext,
  sighting: 'throttled' | 'unreachable' | 'unwell',
): SitePace {
  if (nowMs < pace.pausedUntilMs || event.begunMs < pace.incidentMs) return pace
  const isOutweighed = event.takenBefore >= mailsThatOutweigh
  const countsForMinutes = sighting === 'throttled' || (sighting === 'unreachable' && kind === 'mx')
  const earlier = isOutweighed ? [] : pace.incidentsMs
  const incidentsMs = countsForMinutes ? [...earlier, nowMs].slice(-incidentsForMinutes) : earlier
  const lastMs = isOutweighed ? 0 : pace.pauseMs
  // After minutes it goes on with minutes: the pauses themselves would carry the earlier ones out of memory.
  const isThird = incidentsMs.length >= incidentsForMinutes || lastMs > longestReflexMs
  // A relay's short pauses are gone through first: three refusals of it come within a second.
  const isPatienceOver = kind === 'mx' || lastMs >= longestReflexMs
  const costsMinutes = countsForMinutes && isThird && isPatienceOver
  const pauseMs = costsMinutes
    ? clamp(lastMs * 2, minuteMs, longestPauseMs)
    : clamp(lastMs * 2, firstPauseMs[kind], longestReflexMs)
  return {
    ...pace,
    ...slowedBy(event, pace, nowMs),
    connections: 1,
    mailsPerSecond: costsMinutes && sighting === 'throttled' ? minimumRate : pace.mailsPerSecond,
    pausedUntilMs: nowMs + pauseMs,
    pauseMs,
    incidentMs: nowMs,
    incidentsMs,
    stepMs: costsMinutes ? carefulStepMs : reflexStepMs[kind],
    steppedMs: 0,
  }
}

function applyRule(pace: SitePace, rule: ThrottleRule, event: PaceEvent, { nowMs }: PaceContext): SitePace {
  const isInForce = pace.effects.some((effect) => effect.ruleId === rule.id)
  const isSuspended = pace.pausedUntilMs - nowMs > longestReflexMs
  if (isInForce || (isSuspended && event.begunMs < pace.incidentMs)) return pace
  const { hits, isReached } = countHit(pace.hits, rule, nowMs)
  if (!isReached) return { ...pace, hits }
  const slowed = { ...pace, hits, ...slowedBy(event, pace, nowMs) }
  const untilMs = nowMs + rule.forMs
  if (rule.action.kind !== 'suspend') {
    return { ...slowed, effects: [...pace.effects, { ruleId: rule.id, action: rule.action, untilMs }] }
  }
  return {
    ...slowed,
    connections: 1,
    mailsPerSecond: minimumRate,
    pausedUntilMs: Math.max(untilMs, pace.pausedUntilMs),
    incidentMs: nowMs,
    stepMs: carefulStepMs,
    steppedMs: 0,
  }
}

function countHit(hits: SitePace['hits'], rule: ThrottleRule, nowMs: number) {
  const recent = [...(hits[rule.id] ?? []).filter((at) => at > nowMs - rule.threshold.withinMs), nowMs]
  const isReached = recent.length >= rule.threshold.count
  const { [rule.id]: _, ...others } = hits
  return { hits: isReached ? others : { ...others, [rule.id]: recent }, isReached }
}

function slowedBy(event: PaceEvent, pace: SitePace, nowMs: number): Pick<SitePace, 'cause' | 'sinceMs'> {
  return {
    cause: { reason: event.reason, reply: event.reply, atMs: nowMs },
    sinceMs: pace.sinceMs ?? nowMs,
  }
}

/** Effects whose time is over are lifted, and ten minutes after the end of a pause nothing is held against a site any more. */
export function forgetOld(pace: SitePace, nowMs: number): SitePace {
  if (pace === steadyPace) return pace
  const isStale = (at: number) => at <= nowMs - memoryMs
  const lastMs = Math.max(pace.incidentMs, pace.pausedUntilMs)
  const isForgotten = lastMs > 0 && isStale(lastMs)
  const effects = pace.effects.filter((effect) => effect.untilMs > nowMs)
  const hasLess = effects.length < pace.effects.length
  if (!isForgotten && !hasLess && !pace.incidentsMs.some(isStale)) return pace
  const isSlowed = !isForgotten && (pace.connections !== null || pace.mailsPerSecond !== null)
  return {
    ...pace,
    effects,
    incidentsMs: pace.incidentsMs.filter((at) => !isStale(at)),
    ...(isForgotten && {
      connections: null,
      mailsPerSecond: null,
      pauseMs: 0,
      incidentMs: 0,
      pausedUntilMs: 0,
    }),
    ...(!isSlowed && effects.length === 0 && { cause: null, sinceMs: null }),
  }
}

/** A suspension that a person lifts: the site is probed now, by one connection, and what it did before is not held against it. */
export function liftSuspension(pace: SitePace): SitePace {
  return { ...pace, pausedUntilMs: 0, pauseMs: 0, incidentsMs: [], effects: [], hits: {}, steppedMs: 0 }
}

/** What holds at a time: the configured limits, as far as the pace and its rules leave them. */
export function paceLimits(
  pace: SitePace,
  limits: ThrottleLimits,
  nowMs: number,
): ThrottleLimits & { pausedUntilMs: number } {
  const { connections, mailsPerSecond } = forgetOld(pace, nowMs)
  const now = {
    ...limits,
    connections: Math.min(connections ?? Infinity, limits.connections),
    mailsPerSecond: lower(mailsPerSecond, limits.mailsPerSecond),
    pausedUntilMs: pace.pausedUntilMs > nowMs ? pace.pausedUntilMs : 0,
  }
  for (const { action, untilMs } of pace.effects) {
    if (untilMs <= nowMs) continue
    if (action.kind === 'connections') now.connections = Math.min(now.connections, action.connections)
    else if (action.kind === 'rate') now.mailsPerSecond = lower(now.mailsPerSecond, action.mailsPerSecond)
    else now.mailsPerConnection = Math.min(now.mailsPerConnection, action.mailsPerConnection)
  }
  return now
}

/** `suspended`: nothing is sent, and not only by reflex. `slowed`: it gets less than its limits allow. */
export function conditionOf(pace: SitePace, nowMs: number): SiteCondition {
  const { cause, pausedUntilMs, stepMs } = forgetOld(pace, nowMs)
  if (cause === null) return 'ok'
  return pausedUntilMs > nowMs && stepMs === carefulStepMs ? 'suspended' : 'slowed'
}

/** Whether people are told: it is, or was until just now, more than the reflex that a single odd reply causes. */
export function isNotable(pace: SitePace, nowMs: number): boolean {
  const { cause, effects, stepMs, incidentsMs } = forgetOld(pace, nowMs)
  const isMany = incidentsMs.length >= incidentsForMinutes
  return cause !== null && (effects.length > 0 || isMany || stepMs === carefulStepMs)
}

/**
 * How long a mail that met a failure waits: until the pause is over. Null: the failure was not the site's.
 *
 * @returns milliseconds
 */
export function pauseAfter(pace: SitePace, event: PaceEvent, { kind, nowMs }: PaceContext): number | null {
  const leftMs = pace.pausedUntilMs - nowMs
  if (event.sighting === 'throttled' || event.sighting === 'unreachable') {
    return Math.max(leftMs, firstPauseMs[kind])
  }
  const isJudged = event.sighting === 'deferred' || event.sighting === 'refused'
  return isJudged && event.rule !== null && leftMs > 0 ? leftMs : null
}

function lower(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other
  return Math.min(one, other)
}

function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(Math.max(value, lowest), highest)
}
