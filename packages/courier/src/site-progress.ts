/**
 * What a site has answered lately, and whether it still answers: what tells one that gets on with its mails from one that holds
 * us up.
 *
 * How long a site says nothing is counted in looks, at which others were answered and it was not, and not by a clock: a machine
 * that stands still for seconds, or a slow PostgreSQL, makes nobody suspect.
 */

export interface Progress {
  /** When it answered the last mail, by the monotonic clock; at first, when it was met. */
  lastMs: number
  /** Since when answers are counted, how many there were, and how many in the time before that. */
  sinceMs: number
  count: number
  before: number
  /** It has answered since the last look. */
  isFresh: boolean
  /** Looks in a row at which mail waited for it, others had been answered, and it had not. */
  silentLooks: number
}

/** As long a time as answers are counted for. */
const windowMs = 4_000

/** So many looks without an answer make a site still: at two a second, as long as a mail takes at slow sites that do their work. */
const stillLooks = 4

export function createProgress(): Progress {
  const now = performance.now()
  return { lastMs: now, sinceMs: now, count: 0, before: 0, isFresh: false, silentLooks: 0 }
}

function turn(progress: Progress, now: number): void {
  const elapsedMs = now - progress.sinceMs
  if (elapsedMs < windowMs) return
  progress.before = elapsedMs < 2 * windowMs ? progress.count : 0
  progress.count = 0
  progress.sinceMs = now
}

export function countAnswer(progress: Progress): void {
  const now = performance.now()
  turn(progress, now)
  progress.count += 1
  progress.lastMs = now
  progress.isFresh = true
  progress.silentLooks = 0
}

/** Mails that it answers in a few seconds, as it does now. */
export function answeredLately(progress: Progress): number {
  turn(progress, performance.now())
  return Math.max(progress.before, progress.count)
}

/** @param isAsked mail waits for it, and others were answered since the last look */
export function look(progress: Progress, isAsked: boolean): void {
  if (isAsked && !progress.isFresh) progress.silentLooks += 1
  progress.isFresh = false
  // What it did before says nothing of what it will do.
  if (isStill(progress)) progress.count = progress.before = 0
}

/** It has stopped to answer, or never began to. */
export function isStill({ silentLooks }: Progress): boolean {
  return silentLooks >= stillLooks
}
