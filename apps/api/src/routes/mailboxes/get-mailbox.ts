/** GET /mailboxes/:id. */
import { showMailbox } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Mailbox } from './schemas.ts'

export const getMailbox: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.get(
    '/mailboxes/:id',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'getMailbox',
        summary: 'Show a mailbox and how it does',
        tags: ['Mailboxes'],
        params: idParams,
        response: { 200: ref(Mailbox), ...problems(404) },
      },
    },
    (request) => showMailbox(desk, callerOf(request), request.params.id),
  )
}
