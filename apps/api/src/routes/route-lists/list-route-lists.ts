/** GET /route-lists: newest first. */
import { showRouteLists } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { RouteList } from './schemas.ts'

export const listRouteLists: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId, delivery: options.delivery }
  app.get(
    '/route-lists',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'listRouteLists',
        summary: 'List the lists of routes',
        description: 'Newest first.',
        tags: ['Routes'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(RouteList)), ...problems(400) },
      },
    },
    (request) => showRouteLists(desk, callerOf(request), request.query),
  )
}
