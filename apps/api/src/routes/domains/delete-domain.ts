/** DELETE /domains/:id: remove a sender domain. */

import { removeDomain } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteDomain: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.delete(
    '/domains/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'deleteDomain',
        summary: 'Remove a sender domain',
        description: 'Nothing can be sent from it any more within 5 seconds.',
        tags: ['Domains'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeDomain(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
