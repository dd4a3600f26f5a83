/** POST /webhooks/:id/test: send a test event now, and say what came back. */
import { createWebhookTester } from '@valija/flows'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { WebhookTest } from './schemas.ts'

export const testWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock, http }) => {
  const tester = createWebhookTester({ database, sealer, wake, nextId, clock }, http)
  app.post(
    '/webhooks/:id/test',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'testWebhook',
        summary: 'Send a test event to a webhook',
        description:
          'Type `webhook.test`, signed like any other, sent at once and once, also while the webhook is disabled. It is neither in /events nor among the deliveries. The answer is 200 whatever the endpoint said.',
        tags: ['Webhooks'],
        params: idParams,
        body: noBody,
        response: { 200: ref(WebhookTest), ...problems(400, 404, 413, 415, 503) },
      },
    },
    (request) => tester.test(callerOf(request), request.params.id),
  )
}
