/** POST /messages/:id/resend: send what was accepted once more, as a new message. */
import { ProductError, parseId } from '@valija/core'
import { readResentMessage } from '@valija/flows'
import { Type } from 'typebox'
import { answerMs } from '../../answer-in-time.ts'
import { callerOf, idParams, nullable, problems, type RoutePlugin, strictObject } from '../../route.ts'
import { acceptedResponse, answerAccepted, idempotencyHeaders, readIdempotency } from './accepting.ts'

const Resend = nullable(
  strictObject({
    recipients: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        maxItems: 1_000,
        description: 'Only these of its recipients, by their addresses. Absent: all of them.',
      }),
    ),
  }),
)

export const resendMessage: RoutePlugin = (app, { database, sendDesk }) => {
  app.post(
    '/messages/:id/resend',
    {
      config: { scope: 'send', answerWithinMs: answerMs },
      schema: {
        operationId: 'resendMessage',
        summary: 'Send a message again, as a new one',
        description:
          'With the content, stream, tags, metadata, ttl_seconds, require_tls, sandbox and sensitive of the first, to all of its recipients or some, at once; with an id and a Message-ID of its own. The rules of POST /send hold: domains, suppressions, limits, what the key may do. 409 `conflict` when its content is not kept any more.',
        tags: ['Messages'],
        params: idParams,
        headers: idempotencyHeaders,
        body: Resend,
        response: { 202: acceptedResponse, ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const id = parseId('message', request.params.id)
      if (id === null) throw new ProductError('not_found', { detail: 'There is no such message.' })
      const claim = readIdempotency(request, `resend ${id} `)
      const only = request.body?.recipients ?? null
      const readAgain = () => readResentMessage(database, caller.tenantId, id, only)
      return answerAccepted(reply, await sendDesk.send(caller, { readAgain }, claim, request.answerByMs))
    },
  )
}
