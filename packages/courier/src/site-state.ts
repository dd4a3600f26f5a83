/**
 * What the site scheduler knows of a site, of the sessions that serve it, and of the sites that share one scope of limits; and
 * what follows from it: whether a site may begin something, needs another session, or must let its jobs go.
 */
import { steadyNowMs } from '@valija/core'
import type { Destination, ShapingScope } from './destination.ts'
import { noSocketPauseMs } from './no-socket.ts'
import type { Session } from './session.ts'
import { createProgress, isStill, type Progress } from './site-progress.ts'
import type { ConnectionGrant, SiteShaper } from './site-shaper.ts'
import { type Turned, TurnLine } from './turn-line.ts'

/** The first pause after a failed opening. */
export const firstPauseMs = 250

/** The longest, up to which it doubles. Minutes are the business of shaping rules. */
export const longestPauseMs = 5_000

/**
 * Sessions of a site that has answered no mail yet; each answer allows for another one. Postfix begins with as many. Once this process's sockets are
 * short it is one: ten tarpits with five each left fifty sockets to the ninety sites that were well.
 */
const unprovenConnections = { usually: 5, whileShort: 1 }

/** @param working sessions of all sites that run a mail, or are being opened */
export function areShort(working: number, sockets: number): boolean {
  // One site alone is as well off as ever, however few sockets there are.
  return working >= Math.max(unprovenConnections.usually, sockets / 8)
}

/** A job that waited this long for a busy session is reason enough for another one; below, sessions come free soon. */
export const patienceMs = 20

/** More jobs than this for each session: no need to wait and see. */
const jobsPerSession = 2

export type Grant = Extract<ConnectionGrant, { isGranted: true }>

export interface Waiting<Job> extends Turned {
  job: Job
  sinceMs: number
}

export interface Lane<Job> {
  site: SiteState<Job>
  readonly session: Session
  readonly grant: Grant
  /** What other destinations know this session by; null: of use to its own only. */
  readonly shareKey: string | null
  /** Runs a mail. */
  isBusy: boolean
  /** Mails for the site that it serves now. */
  carried: number
  /** Since when it has had no work, by the monotonic clock. */
  idleSinceMs: number
}

export interface SiteState<Job> {
  /** As the latest job knew it: its exchangers' addresses may have changed. */
  destination: Destination
  readonly scope: ScopeState<Job>
  readonly line: TurnLine<Waiting<Job>>
  readonly lanes: Set<Lane<Job>>
  opening: number
  /** The reflex after failed openings: how long, and until when (`steadyNowMs()`). */
  pauseMs: number
  pausedUntilMs: number
  /** No connection is granted before this (`steadyNowMs()`). */
  refusedUntilMs: number
  /** Its last opening failed for want of a socket of ours, which says nothing of the site. */
  lacksSocket: boolean
  /** Mails that it has answered since it was first met, or has cut all its sessions. */
  answered: number
  readonly progress: Progress
  /** It had to hand jobs back, and has not shown since that it gets on with them. */
  isSuspect: boolean
  /** Looks again after the patience, a pause or a refusal is over. */
  timer: NodeJS.Timeout | undefined
}

export interface FailedOpening<Job> {
  /** For want of a socket here. */
  lacksSocket: boolean
  /** What the failure is for the job that meets it. */
  tell: (job: Job | null) => void
}

export interface ScopeState<Job> {
  readonly scope: ShapingScope
  readonly sites: Set<SiteState<Job>>
  /** Sessions that are being closed: their places come free. */
  closing: number
}

export function createSite<Job>(destination: Destination, scope: ScopeState<Job>): SiteState<Job> {
  const site: SiteState<Job> = {
    destination,
    scope,
    line: new TurnLine(),
    lanes: new Set(),
    opening: 0,
    pauseMs: 0,
    pausedUntilMs: 0,
    refusedUntilMs: 0,
    lacksSocket: false,
    answered: 0,
    progress: createProgress(),
    isSuspect: false,
    timer: undefined,
  }
  scope.sites.add(site)
  return site
}

/** An opening of it has failed a moment ago, and somebody was told why. */
export function isResting({ pausedUntilMs, lacksSocket, refusedUntilMs }: SiteState<unknown>): boolean {
  const now = steadyNowMs()
  return pausedUntilMs > now || (lacksSocket && refusedUntilMs > now)
}

/** For want of a socket here only the openings rest, and always for as long: the site is well, and so are its sessions. */
export function restAfterFailure(site: SiteState<unknown>, lacksSocket: boolean): void {
  const now = steadyNowMs()
  site.lacksSocket = lacksSocket
  if (lacksSocket) {
    site.refusedUntilMs = now + noSocketPauseMs
  } else {
    site.pauseMs = Math.min(Math.max(site.pauseMs * 2, firstPauseMs), longestPauseMs)
    site.pausedUntilMs = now + site.pauseMs
  }
}

/** Its last opening failed, and no session is left. */
export function isDown(site: SiteState<unknown>): boolean {
  return site.lanes.size === 0 && site.pauseMs > 0
}

/** Has work and nobody who does it. */
export function isStarving(site: SiteState<unknown>): boolean {
  return site.line.length > 0 && site.lanes.size === 0 && site.opening === 0
}

type AnySite = SiteState<unknown>

/** Until when nothing may begin at the site (`steadyNowMs()`); over when nothing is in the way. */
export function restsUntil(site: AnySite, shaper: SiteShaper): number {
  return Math.max(site.pausedUntilMs, shaper.limitsOf(site.scope.scope).pausedUntilMs)
}

/** For how long no connection may be opened for the site, in milliseconds; 0: nothing is in the way. */
export function restMsOf(site: AnySite, shaper: SiteShaper): number {
  return Math.max(0, Math.max(restsUntil(site, shaper), site.refusedUntilMs) - steadyNowMs())
}

/**
 * One attempt at first and after a failure; as many at a time as there are sessions while it goes well. A site has to show that it
 * gets on with mails before it is given more of the worker's sockets: a tarpit answers none, or no more of them.
 * Whether it rests is another matter.
 */
export function hasRoomFor(site: AnySite, shaper: SiteShaper, areSocketsShort: boolean): boolean {
  const unproven = unprovenConnections[areSocketsShort ? 'whileShort' : 'usually']
  const atOnce = site.pauseMs > 0 ? 1 : Math.max(1, site.lanes.size)
  if (site.opening >= atOnce) return false
  const connections = Math.min(
    shaper.limitsOf(site.scope.scope).connections,
    unproven + (isStill(site.progress) ? 0 : site.answered),
  )
  return site.lanes.size + site.opening < connections && site.opening < site.line.length
}

/** Its sessions, with those that are being opened. */
export function sessionsOf({ lanes, opening }: AnySite): number {
  return lanes.size + opening
}

/**
 * How many sessions of the richer site would serve mails sooner at this one, which has waited in vain for a socket: until both
 * have as many, and no more than it may open now. One more or less is not worth a connection closed and another one made.
 */
export function wouldGainFrom(richer: AnySite, site: AnySite, shaper: SiteShaper): number {
  const difference = sessionsOf(richer) - sessionsOf(site)
  if (difference < 2 || !isBehind(site) || restMsOf(site, shaper) > 0 || !hasRoomFor(site, shaper, true))
    return 0
  const atOnce = Math.max(1, site.lanes.size) - site.opening
  return Math.min(atOnce, site.line.length - site.opening, Math.floor(difference / 2))
}

/** Whether its sessions, if any, are too few for its line. */
export function isBehind({ line, lanes }: AnySite): boolean {
  const next = line.peek()
  if (lanes.size === 0 || next === undefined) return true
  return line.length > jobsPerSession * lanes.size || performance.now() - next.sinceMs >= patienceMs
}
