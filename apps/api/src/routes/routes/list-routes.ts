/** GET /routes: newest first. */
import { showRoutes } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Route } from './schemas.ts'

export const listRoutes: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.get(
    '/routes',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'listRoutes',
        summary: 'List the routes',
        description:
          'The tenant’s own and those that the operator shares, newest first. With the operator’s key alone: the shared ones.',
        tags: ['Routes'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Route)), ...problems(400) },
      },
    },
    (request) => showRoutes(desk, callerOf(request), request.query),
  )
}
