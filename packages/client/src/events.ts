/** What the API tells of, in GET /events, in a message's timeline and in webhooks. */
import type { Event } from './generated/api.ts'

/** About one recipient of a message. `seq` numbers a recipient's events from 1, in their order. */
export interface MessageEventData {
  message_id: string
  recipient_id: string
  email: string
  /** The sender's mail domain. */
  domain: string
  tags: string[]
  metadata: Record<string, string>
  seq: number
  reason?: string
  bounce_type?: 'hard' | 'soft' | 'block'
  reply?: string
  enhanced_status?: string
  /** What the reason means, and what to do about it. */
  explanation?: string
  remedy?: string
  next_attempt_at?: string
  simulated?: true
  [further: string]: unknown
}

type Told<Type extends string, Data> = { id: string; type: Type; timestamp: string; data: Data }

type EventType = Event['type']
type MessageEventType = Extract<EventType, `message.${string}`>

/** To be told apart by `type`. */
export type ValijaEvent =
  | Told<MessageEventType, MessageEventData>
  | Told<Exclude<EventType, MessageEventType>, Record<string, unknown>>

/** What a webhook brings besides: what POST /webhooks/:id/test sends. */
export type WebhookEvent = ValijaEvent | Told<'webhook.test', Record<string, unknown>>
