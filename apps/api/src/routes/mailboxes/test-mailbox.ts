/** POST /mailboxes/:id/test: log in now, and say what came of it. */
import { createMailboxTester } from '@valija/flows'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { MailboxTest } from './schemas.ts'

export const testMailbox: RoutePlugin = (app, { database, sealer, openMailbox }) => {
  const tester = createMailboxTester({ database, sealer }, openMailbox)
  app.post(
    '/mailboxes/:id/test',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'testMailbox',
        summary: 'Try a mailbox out',
        description:
          'Connects, logs in, opens the folder and counts the mails, from the machine that answers; also while it is paused. No mail is read, moved or deleted, and `status` of the mailbox stays what the workers’ own looks found (`new` before the first). The answer is 200 whatever came of it. POP3 servers often let one in at a time: `busy` may mean that a worker is reading.',
        tags: ['Mailboxes'],
        params: idParams,
        body: noBody,
        response: { 200: ref(MailboxTest), ...problems(400, 404, 413, 415, 503) },
      },
    },
    (request) => tester.test(callerOf(request), request.params.id),
  )
}
