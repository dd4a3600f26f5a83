/**
 * When a deferred recipient is tried again, and when Valija gives up (DESIGN 4.18).
 *
 * Pure: waits are returned in milliseconds and added to PostgreSQL's clock by whoever writes them.
 */
import type { Reason } from './disposition.ts'
import type { Stream } from './stream.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** Waits after the 1st, 2nd … failure; the last repeats. `null` stands for the configurable network row. */
const schedules: Partial<Record<Reason, readonly number[]>> = {
  greylisted: [5 * minuteMs, 10 * minuteMs, 20 * minuteMs],
  mailbox_full: [hourMs, 2 * hourMs, 4 * hourMs, 8 * hourMs],
  reputation: [15 * minuteMs, 30 * minuteMs, hourMs, 2 * hourMs, 4 * hourMs],
  authentication: [5 * minuteMs],
}

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

/**
 * The wait before the next attempt.
 *
 * @param attempts attempts made so far, the failed one included (from 1)
 * @param jitter a number in [0, 1): spreads the wait by ±10 %
 * @returns milliseconds
 */
export function retryWaitMs(policy: RetryPolicy, reason: Reason, attempts: number, jitter: number): number {
  const schedule = schedules[reason] ?? policy.networkScheduleMs
  const wait = schedule[Math.min(attempts, schedule.length) - 1] ?? minuteMs
  return Math.round(wait * (0.9 + 0.2 * jitter))
}

/** How long a mail of each stream is tried, in milliseconds (`VALIJA_MESSAGE_TTL`). */
export type MessageTtlMs = Record<Stream, number>

/** How long this message is tried: its own ttl_seconds, else its stream's default. Milliseconds. */
export function messageTtlMs(defaults: MessageTtlMs, stream: Stream, ttlSeconds: number | null): number {
  return ttlSeconds === null ? defaults[stream] : ttlSeconds * 1000
}
