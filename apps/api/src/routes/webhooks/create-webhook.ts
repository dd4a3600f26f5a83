/** POST /webhooks: add a webhook. */
import { addWebhook } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { CreatedWebhook, WebhookInput } from './schemas.ts'

export const createWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.post(
    '/webhooks',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'createWebhook',
        summary: 'Add a webhook',
        description:
          'Events are posted to it, signed by the scheme of standardwebhooks.com with the secret that is in this answer only. A tenant has 1,000 webhooks at most.',
        tags: ['Webhooks'],
        body: ref(WebhookInput),
        response: { 201: ref(CreatedWebhook), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addWebhook(desk, callerOf(request), request.body)),
  )
}
