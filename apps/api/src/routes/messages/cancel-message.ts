/** POST /messages/:id/cancel: stop what is not being sent this moment. */
import { parseId } from '@valija/core'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { findForChange } from './find-for-change.ts'
import { ChangedMessage, showChanged } from './schemas.ts'

export const cancelMessage: RoutePlugin = (app, { database, messageDesk }) => {
  app.post(
    '/messages/:id/cancel',
    {
      config: { scope: 'send' },
      schema: {
        operationId: 'cancelMessage',
        summary: 'Stop a message that waits to be sent',
        description:
          'Recipients that nobody is sending to this moment are cancelled for good; those that have their end keep it. Asked again it answers 200 again. 409 `already_sending` when no recipient is cancelled by it: `errors` says of each why. 403 `key_restricted` where the key may not send from its domain, or to all of its recipients.',
        tags: ['Messages'],
        params: idParams,
        body: noBody,
        response: { 200: ref(ChangedMessage), ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { id } = await findForChange(database, caller, parseId('message', request.params.id))
      await messageDesk.cancel(caller.tenantId, id)
      return showChanged(await findForChange(database, caller, id), caller.scopes.has('read'))
    },
  )
}
