/** PATCH /mailboxes/:id: change a mailbox. */
import { changeMailbox } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Mailbox, MailboxChange } from './schemas.ts'

export const updateMailbox: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.patch(
    '/mailboxes/:id',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'updateMailbox',
        summary: 'Change a mailbox',
        description:
          'Fields that are absent stay as they are; the protocol cannot be changed. The password must be given again with another host, port or TLS mode. It is looked at anew at once, and its error is forgotten.',
        tags: ['Mailboxes'],
        params: idParams,
        body: ref(MailboxChange),
        response: { 200: ref(Mailbox), ...problems(400, 404, 413, 415) },
      },
    },
    (request) => changeMailbox(desk, callerOf(request), request.params.id, request.body),
  )
}
