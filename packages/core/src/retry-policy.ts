/**
 * When a deferred recipient is tried again, and when Valija gives up (DESIGN 4.18).
 *
 * Pure: waits are returned in milliseconds and added to PostgreSQL's clock by whoever writes them.
 */
import type { Disposition } from './disposition.ts'
import type { Reason } from './reasons.ts'
import type { Stream } from './stream.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** Waits after the 1st, 2nd … failure; the last repeats. What is not here follows the configurable network row. */
const schedules: Partial<Record<Reason, readonly number[]>> = {
  greylisted: [5 * minuteMs, 10 * minuteMs, 20 * minuteMs],
  mailbox_full: [hourMs, 2 * hourMs, 4 * hourMs, 8 * hourMs],
  reputation: [15 * minuteMs, 30 * minuteMs, hourMs, 2 * hourMs, 4 * hourMs],
}

/** Between looks at a route that somebody has to mend: short enough to go on soon after it was mended. */
const pausedRouteSchedule: readonly number[] = [5 * minuteMs]

/** A name that seemed not to exist is looked at again after so many of the first network step, 5 min by default (faults D2). */
const nameDoubtSteps = 5

export interface RetryPolicy {
  /** Waits for network, throttled and any other reason, in milliseconds (`VALIJA_RETRY_SCHEDULE`). */
  networkScheduleMs: readonly number[]
}

export const defaultNetworkScheduleMs: readonly number[] = [
  minuteMs,
  3 * minuteMs,
  8 * minuteMs,
  20 * minuteMs,
  hourMs,
]

/** The waits for a reason in milliseconds, before jitter; the last repeats. */
export function retryScheduleMs(
  { networkScheduleMs }: RetryPolicy,
  { reason, action }: Pick<Disposition, 'reason' | 'action'>,
): readonly number[] {
  if (action === 'pause_route') return pausedRouteSchedule
  if (reason === 'domain_unknown') return [nameDoubtSteps * (networkScheduleMs[0] ?? minuteMs)]
  return (reason !== null && schedules[reason]) || networkScheduleMs
}

/**
 * The wait before the next attempt.
 *
 * @param attempts attempts made so far, the failed one included (from 1)
 * @param jitter a number in [0, 1): spreads the wait by ±10 %, and where a shorter wait would not do by +10 %
 * @returns milliseconds
 */
export function retryWaitMs(
  policy: RetryPolicy,
  cause: Pick<Disposition, 'reason' | 'action'>,
  attempts: number,
  jitter: number,
): number {
  const schedule = retryScheduleMs(policy, cause)
  const wait = schedule[Math.min(attempts, schedule.length) - 1] ?? minuteMs
  const shortest = cause.reason === 'domain_unknown' ? 1 : 0.9
  return Math.round(wait * (shortest + (1.1 - shortest) * jitter))
}

/** How long a mail of each stream is tried, in milliseconds (`VALIJA_MESSAGE_TTL`). */
export type MessageTtlMs = Record<Stream, number>

/** How long this message is tried: its own ttl_seconds, else its stream's default. Milliseconds. */
export function messageTtlMs(defaults: MessageTtlMs, stream: Stream, ttlSeconds: number | null): number {
  return ttlSeconds === null ? defaults[stream] : ttlSeconds * 1000
}
