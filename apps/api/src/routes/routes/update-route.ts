/** PATCH /routes/:id: change a route. */
import { changeRoute } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Route, RouteChange } from './schemas.ts'

export const updateRoute: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.patch(
    '/routes/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'updateRoute',
        summary: 'Change a route',
        description:
          'Fields that are absent stay as they are. Another host, port, TLS mode or login ends the pause of a refused login; the password must be given again with another host, port or TLS mode.',
        tags: ['Routes'],
        params: idParams,
        body: ref(RouteChange),
        response: { 200: ref(Route), ...problems(400, 403, 404, 413, 415) },
      },
    },
    (request) => changeRoute(desk, callerOf(request), request.params.id, request.body),
  )
}
