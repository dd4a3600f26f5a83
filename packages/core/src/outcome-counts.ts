/** What statistics count of recipients, which events they are counted from, and the rates that follow from the counts. */
import type { EventType } from './events.ts'

/** Each is the event `message.<outcome>`. */
export const outcomes = [
  'accepted',
  'delivered',
  'deferred',
  'bounced',
  'complained',
  'unsubscribed',
  'failed',
  'suppressed',
  'cancelled',
] as const satisfies readonly (EventType extends infer T
  ? T extends `message.${infer Name}`
    ? Name
    : never
  : never)[]
export type Outcome = (typeof outcomes)[number]

/** Bounces whose `bounce_type` is hard are counted once more under this name. */
export const hardBounced = 'hard_bounced'

/** Those that are counted by their reason as well. */
export const outcomesWithReason = ['deferred', 'bounced', 'failed'] as const satisfies readonly Outcome[]

export type OutcomeCounts = Record<Outcome | typeof hardBounced, number>

/** Each between 0 and 1; null where nothing is that it could be a part of. */
export interface OutcomeRates {
  bounce_rate: number | null
  hard_bounce_rate: number | null
  complaint_rate: number | null
  deferral_rate: number | null
}

/**
 * Bounces are a part of what receivers took or refused; complaints of what they took; deferrals of all that they answered, for one
 * mail can be deferred several times.
 */
export function outcomeRates(counts: OutcomeCounts): OutcomeRates {
  const { delivered, deferred, bounced, complained } = counts
  const ended = delivered + bounced
  return {
    bounce_rate: partOf(bounced, ended),
    hard_bounce_rate: partOf(counts.hard_bounced, ended),
    complaint_rate: partOf(complained, delivered),
    deferral_rate: partOf(deferred, ended + deferred),
  }
}

/** To a hundredth of a percent of a percent: what is beyond says nothing. */
function partOf(count: number, whole: number): number | null {
  return whole === 0 ? null : Math.min(1, Math.round((count / whole) * 1_000_000) / 1_000_000)
}
