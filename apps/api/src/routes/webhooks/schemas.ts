/** What the routes of webhooks take and answer. */

import { type EventType, eventTypes } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, ref, strictObject, time } from '../../route.ts'
import { listOf, oneLine } from '../keys/schemas.ts'

const url = Type.String({
  minLength: 1,
  maxLength: 2_048,
  pattern: '^[\\u0021-\\u007e]*$',
  description: 'http or https, without user and password.',
})
const events = Type.Array(Type.String(), {
  minItems: 1,
  maxItems: 100,
  uniqueItems: true,
  description: 'Event types; `*` means all but message.attempted, which is to be named.',
  examples: [['*']],
})
const domains = listOf(
  Type.String(),
  'Only events of mails from exactly these sender domains (a subdomain is another); empty: all.',
)
const tags = listOf(oneLine(128, 'A tag.'), 'Only events of mails with one of these tags; empty: all.')
/** As large as a request of it stays small enough for any receiver: 250 events are some 250 KB. */
const batch = Type.Unsafe<{ max_events: number; max_wait_ms: number } | null>({
  type: ['object', 'null'],
  description:
    'Many events in one request: its body is an array, under one `webhook-id`, and comes again as it was. null (and the default): each event by itself.',
  properties: {
    max_events: Type.Integer({
      minimum: 2,
      maximum: 250,
      default: 100,
      description: 'Events in one request.',
    }),
    max_wait_ms: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 1_000,
      description: 'How long an event waits for others.',
    }),
  },
  additionalProperties: false,
})
const status = Type.Unsafe<'enabled' | 'disabled'>(Type.Enum(['enabled', 'disabled']))

export const WebhookInput = named(
  'WebhookInput',
  strictObject({
    url,
    events,
    domains: Type.Optional(domains),
    tags: Type.Optional(tags),
    batch: Type.Optional(batch),
  }),
)

export const WebhookChange = named(
  'WebhookChange',
  strictObject({
    url: Type.Optional(url),
    events: Type.Optional(events),
    domains: Type.Optional(domains),
    tags: Type.Optional(tags),
    batch: Type.Optional(batch),
    status: Type.Optional(status),
  }),
)

const statusCode = nullable(Type.Integer({ description: 'null: there was no HTTP answer.' }))
const error = nullable(Type.String({ description: 'What was wrong, where the status does not say it.' }))

const shown = {
  id: Type.String({ pattern: '^whk_[0-9a-f]{32}$' }),
  url,
  events,
  domains,
  tags,
  batch,
  status,
  disabled_reason: nullable(Type.String({ description: 'Why Valija disabled it; null when it did not.' })),
  disabled_at: nullable(time('Since when it is not told; what happened since is told when it is enabled.')),
  failing_since: nullable(
    time(
      'Since when no try has succeeded; null: the last one did, there was none yet, or Valija disabled it (disabled_reason).',
    ),
  ),
  last_error: Type.Unsafe<{ status_code: number | null; error: string | null; at: string } | null>({
    type: ['object', 'null'],
    description:
      'What the last try came to, while it fails or after Valija disabled it; null: nothing is wrong, or the try is not kept any more.',
    properties: { status_code: statusCode, error, at: time('When that try began.') },
    required: ['status_code', 'error', 'at'],
  }),
  pending: Type.Object(
    {
      events: Type.Integer({
        description: 'How many wait, counted up to 10,000, and in a list up to 1,000.',
      }),
      is_exact: Type.Boolean({ description: 'false: there are more.' }),
    },
    { description: 'What it has still to be told, as /pending lists it.' },
  ),
  former_secret_until: nullable(
    time('Until when its former secret signs as well; null: only the newest signs.'),
  ),
  created_at: time('When it was added.'),
}

export const Webhook = named(
  'Webhook',
  Type.Object(shown, { description: 'An endpoint that is told of events.' }),
)

export const CreatedWebhook = named(
  'CreatedWebhook',
  Type.Object(
    {
      ...shown,
      secret: Type.String({ description: '`whsec_…`, by which signatures are checked: shown this once.' }),
    },
    { description: 'An endpoint that was just added.' },
  ),
)

const eventId = Type.String({ description: 'The event.', examples: ['evt_0192f0c1a2b37c4d8e5f60718293a4b5'] })
const type = Type.Unsafe<EventType>(Type.Enum([...eventTypes]))
const nextTryAt = nullable(time('When it is tried again; null: not.'))

export const WebhookDelivery = named(
  'WebhookDelivery',
  Type.Object(
    {
      id: Type.String({ pattern: '^wht_[0-9a-f]{32}$' }),
      event_id: Type.String({
        description: 'Also the `webhook-id` that the endpoint saw, unless there is a batch_id.',
      }),
      batch_id: nullable(Type.String({ description: 'The `webhook-id` of the batch that it was told in.' })),
      type,
      number: Type.Integer({ description: 'Which try of this event at this endpoint, from 1.' }),
      outcome: Type.String({ description: '`delivered` or `failed`.' }),
      status_code: statusCode,
      error,
      response_start: nullable(Type.String({ description: 'The beginning of the answer’s body.' })),
      started_at: time('When the try began.'),
      duration_ms: Type.Integer(),
      next_try_at: nextTryAt,
    },
    { description: 'One try to tell an endpoint of one event.' },
  ),
)

export const PendingWebhook = named(
  'PendingWebhook',
  Type.Object(
    {
      event_id: eventId,
      type,
      timestamp: time('When the event happened.'),
      tries: Type.Integer({ description: 'Tries made so far.' }),
      status: Type.Unsafe<'waiting' | 'sending'>(Type.Enum(['waiting', 'sending'])),
      next_try_at: nullable(time('When it is tried; null: at this moment, or not while it is disabled.')),
    },
    { description: 'An event that an endpoint has still to be told of.' },
  ),
)

const told = ['delivered', 'sending', 'waiting', 'not_told'] as const

export const EventAtWebhook = named(
  'EventAtWebhook',
  Type.Object(
    {
      event_id: eventId,
      type,
      timestamp: time('When the event happened.'),
      status: Type.Unsafe<(typeof told)[number]>(Type.Enum([...told])),
      summary: Type.String({ description: 'The status in a sentence, and what to do.' }),
      next_try_at: nextTryAt,
      tries: Type.Array(ref(WebhookDelivery), { description: 'The last 100, newest first.' }),
    },
    { description: 'Whether an endpoint was told of an event.' },
  ),
)

export const RotatedSecret = named(
  'RotatedSecret',
  Type.Object(
    {
      secret: Type.String({ description: '`whsec_…`, the new secret: shown this once.' }),
      former_secret_until: nullable(time('Until when the former secret signs as well; null: no more.')),
    },
    { description: 'A webhook’s new secret.' },
  ),
)

export const WebhookReplayInput = named(
  'WebhookReplayInput',
  strictObject(
    {
      event_id: Type.Optional(Type.String({ description: 'This event, whatever the webhook asks for.' })),
      after: Type.Optional(time('What happened at or after, and the webhook asks for.')),
      before: Type.Optional(time('With after: what happened before. Absent: up to now.')),
      types: Type.Optional(
        Type.Array(Type.String(), {
          minItems: 1,
          maxItems: 100,
          description: 'With after: only these types.',
        }),
      ),
      failed: Type.Optional(
        Type.Unsafe<true>({
          type: 'boolean',
          const: true,
          description: 'All that waits for a later try, now.',
        }),
      ),
    },
    { description: 'One of event_id, after, failed.', examples: [{ after: '2026-11-23T00:00:00Z' }] },
  ),
)

export const WebhookReplay = named(
  'WebhookReplay',
  Type.Object(
    {
      events: Type.Integer({ description: 'How many events will be told, counted among the first 2,000.' }),
      is_exact: Type.Boolean({
        description: 'false: more than 2,000 would have to be looked at; all that are meant will be told.',
      }),
    },
    { description: 'What will be told again.' },
  ),
)

export const WebhookTest = named(
  'WebhookTest',
  Type.Object(
    {
      ok: Type.Boolean({ description: 'The endpoint answered with success (2xx).' }),
      event_id: Type.String({ description: 'The id of the test event.' }),
      webhook_id: Type.String({
        description:
          'The header `webhook-id` that the endpoint saw: in Standard Webhooks the id of what is told, here that of the event; not the id of the webhook.',
      }),
      status_code: statusCode,
      error,
      response_start: nullable(Type.String({ description: 'The beginning of the answer’s body.' })),
      duration_ms: Type.Integer(),
    },
    { description: 'What the endpoint said to a test event.' },
  ),
)
