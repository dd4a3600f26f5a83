/** GET /inbox/:id/raw: a caught mail octet for octet. */

import { showInboxRaw } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const getInboxRaw: RoutePlugin = (app, { database, wake }) => {
  const desk = { database, wake }
  app.get(
    '/inbox/:id/raw',
    {
      config: { scope: 'read:content' },
      schema: {
        operationId: 'getInboxRaw',
        summary: 'Show a caught mail as it came',
        tags: ['Inbox'],
        params: idParams,
        response: {
          200: {
            description: 'The mail (RFC 5322) as it came over SMTP.',
            content: { 'message/rfc822': { schema: Type.String() } },
          },
          ...problems(404),
        },
      },
    },
    async (request, reply) => {
      const raw = await showInboxRaw(desk, callerOf(request), request.params.id)
      return reply
        .type('message/rfc822')
        .header('x-content-type-options', 'nosniff')
        .send(raw as never)
    },
  )
}
