/** An event, as streams, timelines and webhooks show it. */

import { type EventType, eventTypes, formatId, invalidRequest, namedOnlyEventTypes } from '@valija/core'
import type { EventRow } from '@valija/store'
import { Type } from 'typebox'
import { named, time } from '../route.ts'

export const Event = named(
  'Event',
  Type.Object(
    {
      id: Type.String({ examples: ['evt_0192f0c1a2b37c4d8e5f60718293a4b5'] }),
      type: Type.Enum([...eventTypes]),
      timestamp: time('When it happened.'),
      data: Type.Object(
        {},
        {
          additionalProperties: true,
          description:
            'Of every message event: message_id, recipient_id, email, domain (the sender’s), stream, tags, metadata, seq (numbers a recipient’s events); where it applies: reason, explanation (what the reason means), remedy, bounce_type, reply, enhanced_status, next_attempt_at, provider (who receives for the recipient’s domain), latency_ms (from acceptance or send_at to the receiving server’s yes), uncertain (it ended, and may have been delivered), simulated.',
        },
      ),
    },
    {
      examples: [
        {
          id: 'evt_0192f0c1a2b37c4d8e5f60718293a4b5',
          type: 'message.delivered',
          timestamp: '2026-11-23T14:05:09.123Z',
          data: {
            message_id: 'msg_0192f0c1a2b37c4d8e5f60718293a4b1',
            recipient_id: 'rcp_0192f0c1a2b37c4d8e5f60718293a4b2',
            email: 'ann@example.com',
            domain: 'acme.example',
            stream: 'transactional',
            tags: ['receipt'],
            metadata: { order: '4711' },
            seq: 3,
            reply: '250 2.0.0 Ok',
            latency_ms: 412,
          },
        },
      ],
    },
  ),
)

/** What is shown unless types are named: as with a webhook's `"*"`. */
export const usualEventTypes: readonly EventType[] = eventTypes.filter(
  (type) => !namedOnlyEventTypes.includes(type),
)

export function showEvent(row: EventRow) {
  return {
    id: formatId('event', row.id),
    type: row.type,
    timestamp: row.createdAt.toISOString(),
    data: row.data,
  }
}

/**
 * Reads `?type=a,b&type=c`.
 *
 * @throws {ProductError} invalid_request at `type`
 */
export function readEventTypes(values: readonly string[] | undefined): readonly EventType[] {
  if (values === undefined) return usualEventTypes
  return values
    .flatMap((value) => value.split(','))
    .map((name) => {
      const type = eventTypes.find((known) => known === name)
      if (type === undefined)
        throw invalidRequest([{ path: 'type', message: `Must be of ${eventTypes.join(', ')}.` }])
      return type
    })
}
