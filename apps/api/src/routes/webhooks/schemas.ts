/** What the routes of webhooks take and answer. */
import { Type } from '@fastify/type-provider-typebox'
import { type EventType, eventTypes } from '@valija/core'
import { named, nullable, strictObject, time } from '../../route.ts'
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
const domains = listOf(Type.String(), 'Only events of mails from these domains; empty: all.')
const tags = listOf(oneLine(128, 'A tag.'), 'Only events of mails with one of these tags; empty: all.')
const status = Type.Unsafe<'enabled' | 'disabled'>(Type.Enum(['enabled', 'disabled']))

export const WebhookInput = named(
  'WebhookInput',
  strictObject({ url, events, domains: Type.Optional(domains), tags: Type.Optional(tags) }),
)

export const WebhookChange = named(
  'WebhookChange',
  strictObject({
    url: Type.Optional(url),
    events: Type.Optional(events),
    domains: Type.Optional(domains),
    tags: Type.Optional(tags),
    status: Type.Optional(status),
  }),
)

const shown = {
  id: Type.String({ pattern: '^whk_[0-9a-f]{32}$' }),
  url,
  events,
  domains,
  tags,
  status,
  disabled_reason: nullable(Type.String({ description: 'Why Valija disabled it; null when it did not.' })),
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

export const WebhookDelivery = named(
  'WebhookDelivery',
  Type.Object(
    {
      id: Type.String({ pattern: '^wht_[0-9a-f]{32}$' }),
      event_id: Type.String({ description: 'Also the `webhook-id` that the endpoint saw.' }),
      type: Type.Unsafe<EventType>(Type.Enum([...eventTypes])),
      number: Type.Integer({ description: 'Which try of this event at this endpoint, from 1.' }),
      outcome: Type.String(),
      status_code: nullable(Type.Integer({ description: 'null: there was no HTTP answer.' })),
      error: nullable(Type.String()),
      response_start: nullable(Type.String({ description: 'The beginning of the answer’s body.' })),
      started_at: time('When the try began.'),
      duration_ms: Type.Integer(),
      next_try_at: nullable(time('When it is tried again; null: not.')),
    },
    { description: 'One try to tell an endpoint of one event.' },
  ),
)
