/**
 * What a rule that blames one tenant or one sending domain holds back: that part of the mail to a provider, and nothing else
 * (DESIGN 4.16). Pure, as site-pace.ts.
 */
import type { Reason } from './reasons.ts'
import type { ThrottleRule } from './throttle-policy.ts'

export interface PartHold {
  /** When replies matched, by the rule's id, while the rule has not taken effect. */
  hits: Readonly<Record<string, readonly number[]>>
  /** Mail of the part waits until then; 0: it does not. */
  untilMs: number
  reason: Reason | null
  reply: string | null
}

export const noHold: PartHold = { hits: {}, untilMs: 0, reason: null, reply: null }

/** @param seen the refusal that matched the rule, and when */
export function stepHold(
  hold: PartHold,
  rule: ThrottleRule,
  seen: { reason: Reason | null; reply: string | null; nowMs: number },
): PartHold {
  const { reason, reply, nowMs } = seen
  if (hold.untilMs > nowMs) return hold
  const recent = [...(hold.hits[rule.id] ?? []).filter((at) => at > nowMs - rule.threshold.withinMs), nowMs]
  if (recent.length < rule.threshold.count) return { ...hold, hits: { ...hold.hits, [rule.id]: recent } }
  return { hits: {}, untilMs: nowMs + rule.forMs, reason, reply }
}
