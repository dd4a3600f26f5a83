/**
 * The events that a tenant's stream and webhooks carry, and which of them an endpoint asked for.
 */
import type { Stream } from './stream.ts'

export const eventTypes = [
  'message.accepted',
  'message.scheduled',
  'message.suppressed',
  'message.attempted',
  'message.delivered',
  'message.deferred',
  'message.late',
  'message.bounced',
  'message.failed',
  'message.cancelled',
  'message.complained',
  'message.opened',
  'message.clicked',
  'message.unsubscribed',
  'domain.verified',
  'domain.failed',
  'suppression.added',
  'suppression.removed',
  'destination.throttled',
  'destination.recovered',
  'route.down',
  'route.recovered',
  'tenant.paused',
  'tenant.alarm',
  'tenant.resumed',
  'quota.reached',
  'webhook.disabled',
] as const

export type EventType = (typeof eventTypes)[number]

/** What `events: ["*"]` of a webhook leaves out: it must be asked for by name. */
export const namedOnlyEventTypes: readonly EventType[] = ['message.attempted']

/** How a bounce is to be read: for good (hard), for now (soft), or refused for who or what we are (block). */
export const bounceTypes = ['hard', 'soft', 'block'] as const
export type BounceType = (typeof bounceTypes)[number]

/** The body of a webhook and an entry of GET /events. */
export interface EventBody {
  id: string
  type: EventType
  /** RFC 3339, UTC, milliseconds. */
  timestamp: string
  data: Record<string, unknown>
}

/**
 * The data that every message.* event carries, about one recipient.
 * `seq` numbers a recipient's events from 1, so a reader can put them in order again.
 */
export interface MessageEventData {
  message_id: string
  recipient_id: string
  email: string
  /** The sender's mail domain: what /domains, keys, webhooks and searches mean by a domain. */
  domain: string
  stream: Stream
  tags: string[]
  metadata: Record<string, string>
  seq: number
  reason?: string
  bounce_type?: BounceType
  reply?: string
  enhanced_status?: string
  /** What the reason means, and what to do about it (reasons.ts). */
  explanation?: string
  remedy?: string
  next_attempt_at?: string
  /** Who receives for the recipient's domain, where the shaping data knows it by name. */
  provider?: string
  /** Of message.delivered: from acceptance or `send_at`, whichever is later, to the receiving server's yes. */
  latency_ms?: number
  simulated?: true
}
