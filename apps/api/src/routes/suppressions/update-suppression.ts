/** PATCH /suppressions/:id: confirm a quarantined entry, or change which stream it stops. */
import { changeSuppression } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Suppression, SuppressionChange } from './schemas.ts'

export const updateSuppression: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.patch(
    '/suppressions/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateSuppression',
        summary: 'Confirm or move an entry',
        description: 'Confirms one that is quarantined, or changes which stream it stops.',
        tags: ['Suppressions'],
        params: idParams,
        body: ref(SuppressionChange),
        response: { 200: ref(Suppression), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => changeSuppression(desk, callerOf(request), request.params.id, request.body),
  )
}
