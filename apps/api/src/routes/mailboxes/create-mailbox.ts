/** POST /mailboxes: have a mailbox looked after. */
import { addMailbox } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Mailbox, MailboxInput } from './schemas.ts'

export const createMailbox: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.post(
    '/mailboxes',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'createMailbox',
        summary: 'Have a mailbox looked after',
        description:
          'A mailbox of a tenant applies to mails of that tenant; with the operator’s key and without Valija-Tenant it is the installation’s, and applies to mails of all. A worker looks at it within seconds; what became of that is in its status. A host in a private network is not connected to unless VALIJA_ALLOW_NETWORKS says so.',
        tags: ['Mailboxes'],
        body: ref(MailboxInput),
        response: { 201: ref(Mailbox), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addMailbox(desk, callerOf(request), request.body)),
  )
}
