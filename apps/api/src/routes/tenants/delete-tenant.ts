/** DELETE /tenants/:id: delete a tenant. */

import { removeTenant } from '@valija/flows'
import { Type } from 'typebox'
import { idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteTenant: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.delete(
    '/tenants/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'deleteTenant',
        summary: 'Delete a tenant',
        description:
          'With its keys, domains, webhooks and inbox. Refused while mails of it are on their way.',
        tags: ['Tenants'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404, 409) },
      },
    },
    async (request, reply) => {
      await removeTenant(desk, request.params.id)
      return reply.code(204).send(null)
    },
  )
}
