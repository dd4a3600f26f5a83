/** GET /webhooks/:id/deliveries/:event_id: was this event told to that endpoint? */

import { showEventAtWebhook } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { EventAtWebhook } from './schemas.ts'

export const getWebhookDelivery: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/webhooks/:id/deliveries/:event_id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getWebhookDelivery',
        summary: 'Was this event told to this webhook?',
        description: 'In a word, in a sentence, and with every try.',
        tags: ['Webhooks'],
        params: strictObject({
          id: Type.String({ description: 'The webhook’s id.' }),
          event_id: Type.String({ description: 'The event’s id.' }),
        }),
        response: { 200: ref(EventAtWebhook), ...problems(400, 404) },
      },
    },
    (request) => showEventAtWebhook(desk, callerOf(request), request.params.id, request.params.event_id),
  )
}
