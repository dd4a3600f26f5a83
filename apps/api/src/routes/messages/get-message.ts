/** GET /messages/:id: a message with its recipients. */
import { ProductError, parseId } from '@valija/core'
import { findMessage } from '@valija/store'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Message, showMessage } from './schemas.ts'

export const getMessage: RoutePlugin = (app, { database }) => {
  app.get(
    '/messages/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getMessage',
        summary: 'Get a message and what became of each recipient',
        tags: ['Messages'],
        params: idParams,
        response: { 200: ref(Message), ...problems(400, 404) },
      },
    },
    async (request) => {
      const id = parseId('message', request.params.id)
      const message = id && (await findMessage(database, callerOf(request).tenantId, id))
      if (!message) throw new ProductError('not_found', { detail: 'There is no such message.' })
      return showMessage(message)
    },
  )
}
