/** GET /messages/:id/raw: the message as RFC 5322 text, as it was or will be handed to the receiving server. */

import { ProductError, parseId } from '@valija/core'
import { readRawMessage } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const getRaw: RoutePlugin = (app, { database, signer, unsubscribeTokens, reportFields }) => {
  const parts = { database, signer, unsubscribeTokens, reportFields }
  app.get(
    '/messages/:id/raw',
    {
      config: { scope: 'read:content' },
      schema: {
        operationId: 'getRawMessage',
        summary: 'Get a message as RFC 5322 text',
        description:
          'Composed and signed as it would be if it were sent now; where each recipient has a link of its own to unsubscribe by, the mail of the first.',
        tags: ['Messages'],
        params: idParams,
        response: {
          200: {
            description: 'The message.',
            content: { 'message/rfc822': { schema: Type.String({ format: 'binary' }) } },
          },
          ...problems(400, 404),
        },
      },
    },
    async (request, reply) => {
      const id = parseId('message', request.params.id)
      const raw = id && (await readRawMessage(parts, callerOf(request).tenantId, id))
      if (!raw)
        throw new ProductError('not_found', {
          detail:
            'There is no such message, or its body is not kept any more: GET /messages/:id tells which (content).',
        })
      return reply.type('message/rfc822').send(raw as never)
    },
  )
}
