/** GET /webhooks/:id/deliveries: every try that was made at the endpoint, newest first. */
import { showWebhookTries } from '@valija/flows'
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
import { WebhookDelivery } from './schemas.ts'

export const listWebhookDeliveries: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.get(
    '/webhooks/:id/deliveries',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'List the tries made at a webhook',
        description: 'Newest first.',
        tags: ['Webhooks'],
        params: idParams,
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(WebhookDelivery)), ...problems(400, 404) },
      },
    },
    (request) => showWebhookTries(desk, callerOf(request), request.params.id, request.query),
  )
}
