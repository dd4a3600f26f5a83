/**
 * How many jobs may wait at a site. While it gets on with them: as many as come. While it cannot be reached, or holds us up: its
 * part of what all such sites may keep together, so that the worker's leases are for mail that moves.
 *
 * A site that answers again is trusted step by step: it may keep twice what it answers in a few seconds, until that is more than
 * all sites in trouble may keep. So a drip is not let off by one answer, and a slow relay always has work at hand.
 */
import { steadyNowMs } from '@valija/core'
import { answeredLately, isStill } from './site-progress.ts'
import type { SiteShaper } from './site-shaper.ts'
import { firstPauseMs, isDown, restsUntil, type SiteState } from './site-state.ts'

export interface LineLimits {
  /** What sites that are down or hold us up may keep, all together. Each may keep one. */
  waitingInTrouble: number
  /** A site is slow when its next job has been waiting for so long. */
  slowAfterMs: number
}

/** A pause that is longer is not waited for with mails in hand: their leases would be renewed for nothing. */
const longestHeldMs = 10_000

/**
 * What a site has no room for is brought again after as long as it has said nothing, within these, and up to twice that: so a
 * hundred thousand mails do not come and go together.
 */
const pauses = { leastMs: 1_000, mostMs: 15_000 }

type AnySite = SiteState<unknown>

/** It takes no mail for a moment, or has stopped to answer. */
function isStuck(site: AnySite, shaper: SiteShaper): boolean {
  const now = steadyNowMs()
  const isRefused = site.lanes.size === 0 && site.refusedUntilMs > now
  return restsUntil(site, shaper) > now || isDown(site) || isRefused || isStill(site.progress)
}

function isSlow({ line }: AnySite, { slowAfterMs }: LineLimits): boolean {
  const next = line.peek()
  return next !== undefined && performance.now() - next.sinceMs >= slowAfterMs
}

export function isInTrouble(site: AnySite, shaper: SiteShaper, limits: LineLimits): boolean {
  return site.line.length > 0 && (isStuck(site, shaper) || isSlow(site, limits))
}

/** @param inTrouble sites that are */
export function mayKeep(site: AnySite, shaper: SiteShaper, limits: LineLimits, inTrouble: number): number {
  if (restsUntil(site, shaper) - steadyNowMs() > longestHeldMs) return 0
  const share = Math.max(1, Math.floor(limits.waitingInTrouble / Math.max(1, inTrouble)))
  if (isStuck(site, shaper)) return share
  if (site.isSuspect || isSlow(site, limits)) return Math.max(share, trustOf(site))
  return Number.POSITIVE_INFINITY
}

/** A site that had to hand jobs back has shown since that it gets on with them. */
export function isCleared(site: AnySite, { waitingInTrouble }: LineLimits): boolean {
  return trustOf(site) >= waitingInTrouble
}

const trustOf = ({ progress }: AnySite) => 2 * answeredLately(progress)

/** When jobs that a site cannot have now are worth trying again (`steadyNowMs()`). */
export function endOfRest(site: AnySite, shaper: SiteShaper): number {
  const now = steadyNowMs()
  const restMs = Math.max(restsUntil(site, shaper), site.refusedUntilMs) - now
  // While a site that is down is being tried anew nobody knows: as if that failed at once. One that lets each try wait is still.
  const downMs = isDown(site) ? Math.max(site.pauseMs, firstPauseMs) : 0
  const knownMs = restMs > 0 ? restMs : downMs
  if (knownMs > 0 && !isStill(site.progress)) return now + knownMs
  const silentMs = performance.now() - site.progress.lastMs
  const pauseMs = Math.min(Math.max(silentMs, pauses.leastMs), pauses.mostMs)
  return now + Math.max(knownMs, pauseMs * (1 + Math.random()))
}
