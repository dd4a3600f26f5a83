/** POST /route-lists: make a list of routes. */
import { addRouteList } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { RouteList, RouteListInput } from './schemas.ts'

export const createRouteList: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId, delivery: options.delivery }
  app.post(
    '/route-lists',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'createRouteList',
        summary: 'Make a list of routes',
        description:
          'The most specific list counts: domain and stream, domain, stream, neither; then the operator’s. Recipients are spread over the routes by weight, each always to the same one; a route that is down or paused is left out, and the next one takes its mail. Lists apply where VALIJA_DELIVERY is smarthost or mx.',
        tags: ['Routes'],
        body: ref(RouteListInput),
        response: { 201: ref(RouteList), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addRouteList(desk, callerOf(request), request.body)),
  )
}
