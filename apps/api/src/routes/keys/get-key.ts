/** GET /keys/:id. */
import { showKey } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Key } from './schemas.ts'

export const getKey: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.get(
    '/keys/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getKey',
        summary: 'Show an API key',
        tags: ['Keys'],
        params: idParams,
        response: { 200: ref(Key), ...problems(404) },
      },
    },
    (request) => showKey(desk, callerOf(request), request.params.id),
  )
}
