/** POST /templates/:id/test: send it to somebody who wants to see it. */
import { sendTestMail } from '@valija/flows'
import { answerMs } from '../../answer-in-time.ts'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { AcceptedMessage } from '../messages/schemas.ts'
import { TemplateTest } from './schemas.ts'

export const testTemplate: RoutePlugin = (app, { database, sendDesk }) => {
  app.post(
    '/templates/:id/test',
    {
      config: { scope: 'send', answerWithinMs: answerMs },
      schema: {
        operationId: 'testTemplate',
        summary: 'Send a test mail of a template',
        description:
          'Of the newest version, published or not, or the one that is named. Accepted, limited and delivered as POST /send does.',
        tags: ['Templates'],
        params: idParams,
        body: ref(TemplateTest),
        response: {
          202: {
            description: 'Accepted.',
            content: { 'application/json': { schema: ref(AcceptedMessage) } },
          },
          ...problems(400, 404, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { id } = request.params
      const { body } = await sendTestMail(
        { database, sendDesk },
        caller,
        id,
        request.body,
        request.answerByMs,
      )
      return reply
        .code(202)
        .type('application/json; charset=utf-8')
        .send(body as never)
    },
  )
}
