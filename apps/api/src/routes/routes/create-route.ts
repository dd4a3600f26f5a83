/** POST /routes: make a route. */
import { addRoute } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Route, RouteInput } from './schemas.ts'

export const createRoute: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.post(
    '/routes',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'createRoute',
        summary: 'Make a route',
        description:
          'With the operator’s key and without Valija-Tenant it is shared: every tenant may use it. The host of a route that a tenant makes may not be in a private network unless VALIJA_ALLOW_NETWORKS says so; that is checked when it is connected to.',
        tags: ['Routes'],
        body: ref(RouteInput),
        response: { 201: ref(Route), ...problems(400, 403, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addRoute(desk, callerOf(request), request.body)),
  )
}
