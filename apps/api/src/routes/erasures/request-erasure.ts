/** POST /recipients/erase: delete what is kept about one person. */
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Erasure, ErasureInput } from './schemas.ts'

export const requestErasure: RoutePlugin = (app, { erasureDesk }) => {
  app.post(
    '/recipients/erase',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'requestErasure',
        summary: 'Delete what is kept about one person',
        description:
          'When it is answered nothing is sent to the address any more, but for mails that a worker had past recall (`being_sent`). Workers then replace the address by a placeholder wherever it stands, and delete what was said to that person. Entries of the suppression list stay. Asked again while one is pending, it answers with that one, which then reaches up to now; mail that is accepted later is mail as any.',
        tags: ['Erasures'],
        body: ref(ErasureInput),
        response: { 202: ref(Erasure), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) =>
      reply.code(202).send(await erasureDesk.erase(callerOf(request), request.body.email)),
  )
}
