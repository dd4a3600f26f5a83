/** GET /route-lists/:id. */
import { showRouteList } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { RouteList } from './schemas.ts'

export const getRouteList: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId, delivery: options.delivery }
  app.get(
    '/route-lists/:id',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'getRouteList',
        summary: 'Show a list of routes',
        tags: ['Routes'],
        params: idParams,
        response: { 200: ref(RouteList), ...problems(404) },
      },
    },
    (request) => showRouteList(desk, callerOf(request), request.params.id),
  )
}
