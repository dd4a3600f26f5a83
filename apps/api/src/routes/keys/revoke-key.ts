/** DELETE /keys/:id: revoke an API key. */

import { removeKey } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const revokeKey: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.delete(
    '/keys/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'revokeKey',
        summary: 'Revoke an API key',
        description: 'It works nowhere any more within 5 seconds.',
        tags: ['Keys'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeKey(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
