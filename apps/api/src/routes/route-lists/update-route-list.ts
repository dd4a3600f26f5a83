/** PATCH /route-lists/:id: change a list of routes. */
import { changeRouteList } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { RouteList, RouteListChange } from './schemas.ts'

export const updateRouteList: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId, delivery: options.delivery }
  app.patch(
    '/route-lists/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'updateRouteList',
        summary: 'Change a list of routes',
        description: 'Replaces the whole list.',
        tags: ['Routes'],
        params: idParams,
        body: ref(RouteListChange),
        response: { 200: ref(RouteList), ...problems(400, 404, 413, 415) },
      },
    },
    (request) => changeRouteList(desk, callerOf(request), request.params.id, request.body),
  )
}
