/** DELETE /routes/:id: delete a route. */

import { removeRoute } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteRoute: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.delete(
    '/routes/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'deleteRoute',
        summary: 'Delete a route',
        description: 'Refused while a list, an API key or a mail on its way names it.',
        tags: ['Routes'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404, 409) },
      },
    },
    async (request, reply) => {
      await removeRoute(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
