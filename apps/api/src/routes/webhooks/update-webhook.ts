/** PATCH /webhooks/:id: change, disable or enable a webhook. */
import { changeWebhook } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Webhook, WebhookChange } from './schemas.ts'

export const updateWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.patch(
    '/webhooks/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateWebhook',
        summary: 'Change, disable or enable a webhook',
        description:
          'Fields that are absent stay as they are. One that is enabled again is told what it missed.',
        tags: ['Webhooks'],
        params: idParams,
        body: ref(WebhookChange),
        response: { 200: ref(Webhook), ...problems(400, 404, 413, 415) },
      },
    },
    (request) => changeWebhook(desk, callerOf(request), request.params.id, request.body),
  )
}
