/** DELETE /suppressions/:id: send to the address again. */

import { removeSuppression } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteSuppression: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.delete(
    '/suppressions/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'deleteSuppression',
        summary: 'Take an address off the list',
        description:
          'It is sent to again, and what its server said of its mailbox so far is forgotten. What was suppressed stays so.',
        tags: ['Suppressions'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeSuppression(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
