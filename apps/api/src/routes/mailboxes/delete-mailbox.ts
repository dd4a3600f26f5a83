/** DELETE /mailboxes/:id: look after a mailbox no more. */

import { removeMailbox } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteMailbox: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.delete(
    '/mailboxes/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'deleteMailbox',
        summary: 'Look after a mailbox no more',
        description: 'The mailbox itself, and the mails in it, stay as they are.',
        tags: ['Mailboxes'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeMailbox(desk, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
