/** GET /webhooks/:id/pending: what the endpoint has still to be told, oldest first. */
import { showPendingWebhooks } from '@valija/flows'
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
import { PendingWebhook } from './schemas.ts'

export const listPendingWebhooks: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/webhooks/:id/pending',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listPendingWebhooks',
        summary: 'List what a webhook has still to be told',
        description: 'Oldest first. For a disabled webhook: what it was not told before it was disabled.',
        tags: ['Webhooks'],
        params: idParams,
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(PendingWebhook)), ...problems(400, 404) },
      },
    },
    (request) => showPendingWebhooks(desk, callerOf(request), request.params.id, request.query),
  )
}
