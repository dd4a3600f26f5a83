/** GET /suppressions/:id. */
import { showSuppression } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Suppression } from './schemas.ts'

export const getSuppression: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.get(
    '/suppressions/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getSuppression',
        summary: 'Read an entry',
        tags: ['Suppressions'],
        params: idParams,
        response: { 200: ref(Suppression), ...problems(404) },
      },
    },
    (request) => showSuppression(desk, callerOf(request), request.params.id),
  )
}
