/** DELETE /route-lists/:id: delete a list of routes. */

import { removeRouteList } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteRouteList: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId, delivery: options.delivery }
  app.delete(
    '/route-lists/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'deleteRouteList',
        summary: 'Delete a list of routes',
        description: 'What it was for takes the next less specific list.',
        tags: ['Routes'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeRouteList(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
