/** GET /webhooks: newest first. */
import { showWebhooks } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Webhook } from './schemas.ts'

export const listWebhooks: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/webhooks',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listWebhooks',
        summary: 'List the webhooks',
        description: 'Newest first.',
        tags: ['Webhooks'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Webhook)), ...problems(400) },
      },
    },
    (request) => showWebhooks(desk, callerOf(request), request.query),
  )
}
