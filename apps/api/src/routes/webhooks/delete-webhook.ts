/** DELETE /webhooks/:id: delete a webhook. */

import { removeWebhook } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteWebhook: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.delete(
    '/webhooks/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'deleteWebhook',
        summary: 'Delete a webhook',
        description: 'What it has still to be told is dropped.',
        tags: ['Webhooks'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeWebhook(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
