/** GET /mailboxes: newest first. */
import { showMailboxes } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Mailbox } from './schemas.ts'

export const listMailboxes: RoutePlugin = (app, { database, sealer, wake, nextId }) => {
  const desk = { database, sealer, wake, nextId }
  app.get(
    '/mailboxes',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'listMailboxes',
        summary: 'List the mailboxes',
        description:
          'The tenant’s own, newest first. With the operator’s key and without Valija-Tenant: the installation’s.',
        tags: ['Mailboxes'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Mailbox)), ...problems(400) },
      },
    },
    (request) => showMailboxes(desk, callerOf(request), request.query),
  )
}
