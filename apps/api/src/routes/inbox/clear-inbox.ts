/** DELETE /inbox: empties it. */

import { emptyInbox } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, type RoutePlugin } from '../../route.ts'

export const clearInbox: RoutePlugin = (app, { database, wake }) => {
  const desk = { database, wake }
  app.delete(
    '/inbox',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'clearInbox',
        summary: 'Delete all caught mails',
        tags: ['Inbox'],
        response: { 204: Type.Null({ description: 'Done.' }) },
      },
    },
    async (request, reply) => {
      await emptyInbox(desk, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}
