/** GET /erasures/:id. */
import { showErasure } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Erasure } from './schemas.ts'

export const getErasure: RoutePlugin = (app, desk) => {
  app.get(
    '/erasures/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getErasure',
        summary: 'Read how far an erasure is',
        tags: ['Erasures'],
        params: idParams,
        response: { 200: ref(Erasure), ...problems(404) },
      },
    },
    (request) => showErasure(desk, callerOf(request), request.params.id),
  )
}
