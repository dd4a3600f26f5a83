/** GET /erasures: newest first. */
import { showErasures } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Erasure } from './schemas.ts'

export const listErasures: RoutePlugin = (app, desk) => {
  app.get(
    '/erasures',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listErasures',
        summary: 'List the erasures',
        description: 'Newest first. None tells whose data it was about. Kept as long as events.',
        tags: ['Erasures'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Erasure)), ...problems(400) },
      },
    },
    (request) => showErasures(desk, callerOf(request), request.query),
  )
}
