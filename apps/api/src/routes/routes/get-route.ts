/** GET /routes/:id. */
import { showRoute } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Route } from './schemas.ts'

export const getRoute: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/routes/:id',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'getRoute',
        summary: 'Show a route',
        tags: ['Routes'],
        params: idParams,
        response: { 200: ref(Route), ...problems(404) },
      },
    },
    (request) => showRoute(desk, callerOf(request), request.params.id),
  )
}
