/** POST /suppressions: suppress an address. */
import { addSuppression } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Suppression, SuppressionInput } from './schemas.ts'

export const createSuppression: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.post(
    '/suppressions',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'createSuppression',
        summary: 'Suppress an address',
        description:
          'Mail to it ends as suppressed, what waits already as well. Asked again for the same address and stream it answers with the same entry; a quarantined one comes into force.',
        tags: ['Suppressions'],
        body: ref(SuppressionInput),
        response: { 201: ref(Suppression), ...problems(400, 413, 415) },
      },
    },
    async (request, reply) =>
      reply.code(201).send(await addSuppression(desk, callerOf(request), request.body)),
  )
}
