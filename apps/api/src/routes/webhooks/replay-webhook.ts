/** POST /webhooks/:id/replay: tell events again. */
import { replayWebhook as replay } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { WebhookReplay, WebhookReplayInput } from './schemas.ts'

export const replayWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.post(
    '/webhooks/:id/replay',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'replayWebhook',
        summary: 'Tell a webhook again',
        description:
          'One event; all that happened in a time and the webhook asks for, told already or not; or all that waits for a later try. Under the same `webhook-id` as before; what waits already is not told twice. A disabled webhook is told once it is enabled.',
        tags: ['Webhooks'],
        params: idParams,
        body: ref(WebhookReplayInput),
        response: { 202: ref(WebhookReplay), ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request, reply) =>
      reply.code(202).send(await replay(desk, callerOf(request), request.params.id, request.body)),
  )
}
