/** GET /webhooks/:id/deliveries: every try that was made at the endpoint, newest first. */

import { showWebhookTries } from '@valija/flows'
import { Type } from 'typebox'
import { readTime, timeQuery } from '../../query-time.ts'
import {
  callerOf,
  idParams,
  page,
  pageQuery,
  problems,
  type RoutePlugin,
  ref,
  strictObject,
} from '../../route.ts'
import { readEventTypes } from '../../schemas/event.ts'
import { WebhookDelivery } from './schemas.ts'

const query = strictObject({
  event_id: Type.Optional(Type.String({ description: 'Only tries of this event.' })),
  type: Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 100,
      description: 'Only events of these types; repeated or separated by commas.',
    }),
  ),
  outcome: Type.Optional(Type.Unsafe<'delivered' | 'failed'>(Type.Enum(['delivered', 'failed']))),
  after: timeQuery('Only tries that began at or after.'),
  before: timeQuery('Only tries that began before.'),
  ...pageQuery,
})

export const listWebhookDeliveries: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/webhooks/:id/deliveries',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'List the tries made at a webhook',
        description: 'Newest first. What waits for its first try is in /webhooks/:id/pending.',
        tags: ['Webhooks'],
        params: idParams,
        querystring: query,
        response: { 200: page(ref(WebhookDelivery)), ...problems(400, 404) },
      },
    },
    (request) => {
      const { type, after, before, ...rest } = request.query
      const [afterMs, beforeMs] = [readTime('after', after), readTime('before', before)]
      return showWebhookTries(desk, callerOf(request), request.params.id, {
        ...rest,
        ...(type !== undefined && { types: readEventTypes(type) }),
        ...(afterMs !== undefined && { afterMs }),
        ...(beforeMs !== undefined && { beforeMs }),
      })
    },
  )
}
