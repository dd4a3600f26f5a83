/** GET /webhooks/:id. */
import { showWebhook } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Webhook } from './schemas.ts'

export const getWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/webhooks/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getWebhook',
        summary: 'Show a webhook',
        tags: ['Webhooks'],
        params: idParams,
        response: { 200: ref(Webhook), ...problems(404) },
      },
    },
    (request) => showWebhook(desk, callerOf(request), request.params.id),
  )
}
