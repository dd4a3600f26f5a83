/**
 * When a webhook is tried again and when its endpoint is given up (docs/api-guide.md, "Events and webhooks").
 *
 * Pure: waits are returned in milliseconds and added to PostgreSQL's clock by whoever writes them.
 */

const secondMs = 1_000
const minuteMs = 60 * secondMs
const hourMs = 60 * minuteMs

export interface WebhookPolicy {
  /** Waits before the 2nd, 3rd … try, in milliseconds; the last repeats. */
  retryWaitsMs: readonly number[]
  /** Retry-After of a receiver is heeded up to this, in milliseconds. */
  longestRetryAfterMs: number
  /** An endpoint without a success for this long is disabled, in milliseconds. */
  disableAfterMs: number
}

/** What the contract promises. */
export const webhookPolicy: WebhookPolicy = {
  retryWaitsMs: [5 * secondMs, 5 * minuteMs, 30 * minuteMs, 2 * hourMs, 5 * hourMs, 10 * hourMs, 12 * hourMs],
  longestRetryAfterMs: 24 * hourMs,
  disableAfterMs: 5 * 24 * hourMs,
}

/** What came of one try, as far as judging needs it. */
export interface WebhookTryOutcome {
  /** How many tries of this event to this endpoint count in its schedule, this one included (from 1). */
  tries: number
  /** Null when there was no HTTP answer. */
  statusCode: number | null
  /** What the answer's Retry-After asks for (RFC 9110 §10.2.3), null without one. */
  retryAfterMs: number | null
}

export type WebhookVerdict =
  | { kind: 'delivered' }
  | { kind: 'retry'; afterMs: number }
  /** 410 Gone: the receiver wants no more (RFC 9110 §15.5.11). The event waits like any other that failed. */
  | { kind: 'disable'; afterMs: number }

/**
 * Judges one try. Only 2xx is a success: a redirect is a failure, because following it would tell a tenant's events to a
 * host that the tenant never named.
 *
 * @param jitter a number in [0, 1): spreads retries by up to a tenth, never earlier than promised
 */
export function judgeWebhookTry(
  outcome: WebhookTryOutcome,
  jitter: number,
  policy: WebhookPolicy = webhookPolicy,
): WebhookVerdict {
  const { tries, statusCode, retryAfterMs } = outcome
  if (statusCode !== null && statusCode >= 200 && statusCode < 300) return { kind: 'delivered' }
  const waits = policy.retryWaitsMs
  const wait = waits[Math.min(tries, waits.length) - 1] ?? 0
  const spread = Math.round(wait * (1 + 0.1 * jitter))
  const asked = Math.min(retryAfterMs ?? 0, policy.longestRetryAfterMs)
  return { kind: statusCode === 410 ? 'disable' : 'retry', afterMs: Math.max(spread, asked) }
}
