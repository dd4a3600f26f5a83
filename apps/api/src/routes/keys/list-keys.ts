/** GET /keys: newest first; revoked keys are not shown. */
import { showKeys } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Key } from './schemas.ts'

export const listKeys: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.get(
    '/keys',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listKeys',
        summary: 'List the API keys',
        description: 'Newest first; revoked keys are not shown.',
        tags: ['Keys'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Key)), ...problems(400) },
      },
    },
    (request) => showKeys(desk, callerOf(request), request.query),
  )
}
