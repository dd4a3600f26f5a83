/** POST /messages/:id/cancel: stop what is not being sent this moment. */
import { ProductError, parseId } from '@valija/core'
import { findMessage } from '@valija/store'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { Message, showMessage } from './schemas.ts'

export const cancelMessage: RoutePlugin = (app, { database, messageDesk }) => {
  app.post(
    '/messages/:id/cancel',
    {
      config: { scope: 'send' },
      schema: {
        operationId: 'cancelMessage',
        summary: 'Stop a message that waits to be sent',
        description:
          'Recipients that nobody is sending to this moment are cancelled for good; those that have their end keep it. Asked again it answers 200 again. 409 `already_sending` when no recipient is cancelled by it: `errors` says of each why.',
        tags: ['Messages'],
        params: idParams,
        body: noBody,
        response: { 200: ref(Message), ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request) => {
      const { tenantId } = callerOf(request)
      const id = parseId('message', request.params.id)
      if (id !== null) await messageDesk.cancel(tenantId, id)
      const message = id && (await findMessage(database, tenantId, id))
      if (!message) throw new ProductError('not_found', { detail: 'There is no such message.' })
      return showMessage(message)
    },
  )
}
