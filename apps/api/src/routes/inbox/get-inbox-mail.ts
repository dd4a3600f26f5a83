/** GET /inbox/:id: a caught mail, taken apart. */
import { showInboxMail } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { InboxMail } from './schemas.ts'

export const getInboxMail: RoutePlugin = (app, { database, wake }) => {
  const desk = { database, wake }
  app.get(
    '/inbox/:id',
    {
      config: { scope: 'read:content' },
      schema: {
        operationId: 'getInboxMail',
        summary: 'Show a caught mail',
        tags: ['Inbox'],
        params: idParams,
        response: { 200: ref(InboxMail), ...problems(404) },
      },
    },
    (request) => showInboxMail(desk, callerOf(request), request.params.id),
  )
}
