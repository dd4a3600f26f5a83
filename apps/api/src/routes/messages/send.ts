/**
 * POST /send: accepts one message. The 202 is a promise: it is answered once the message is committed.
 *
 * The body is validated once by its schema and once by the product's rules; the answer is the text that the accept
 * transaction stored, so it is not serialised again.
 */
import { answerMs } from '../../answer-in-time.ts'
import { maxBodyBytes } from '../../body-limits.ts'
import { callerOf, problems, type RoutePlugin, ref, takeBody } from '../../route.ts'
import { MessageInput } from '../../schemas/message-input.ts'
import { acceptedResponse, answerAccepted, idempotencyHeaders, readIdempotency } from './accepting.ts'
import { findFurtherFaults } from './further-faults.ts'

export const send: RoutePlugin = (app, { sendDesk, options }) => {
  app.post(
    '/send',
    {
      config: { scope: 'send', findFurtherFaults, answerWithinMs: answerMs },
      bodyLimit: maxBodyBytes(options.maxMessageSizeBytes),
      schema: {
        operationId: 'send',
        summary: 'Send a message',
        description:
          'Answered when the message is stored durably. Repeat a request whose answer was lost with the same Idempotency-Key: it is sent once.',
        tags: ['Messages'],
        headers: idempotencyHeaders,
        body: ref(MessageInput),
        response: {
          202: acceptedResponse,
          ...problems(400, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const claim = readIdempotency(request)
      return answerAccepted(
        reply,
        await sendDesk.send(callerOf(request), takeBody(request), claim, request.answerByMs),
      )
    },
  )
}
