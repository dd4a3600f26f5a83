/**
 * POST /send: accepts one message. The 202 is a promise: it is answered once the message is committed.
 *
 * The body is validated once by its schema and once by the product's rules; the answer is the text that the accept
 * transaction stored, so it is not serialised again.
 */
import { createHash } from 'node:crypto'
import { findIdempotencyKeyFault, invalidRequest } from '@valija/core'
import type { IdempotencyClaim } from '@valija/flows'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { answerMs } from '../../answer-in-time.ts'
import { maxBodyBytes } from '../../body-limits.ts'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { MessageInput } from '../../schemas/message-input.ts'
import { findFurtherFaults } from './further-faults.ts'
import { AcceptedMessage } from './schemas.ts'

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
        headers: Type.Object({
          'idempotency-key': Type.Optional(
            Type.String({
              description:
                'At most 255 visible ASCII characters, per tenant. Kept until 24 h after acceptance or send_at: the same bytes get the stored answer, other bytes 409.',
            }),
          ),
        }),
        body: ref(MessageInput),
        response: {
          202: {
            description: 'Accepted.',
            headers: {
              'Idempotency-Replayed': Type.Enum(['true'], {
                description: 'Present when this is the stored answer to an earlier request.',
              }),
            },
            content: { 'application/json': { schema: ref(AcceptedMessage) } },
          },
          ...problems(400, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const idempotency = readIdempotency(request)
      const { answerByMs } = request
      const { body, isReplay } = await sendDesk.send(callerOf(request), request.body, idempotency, answerByMs)
      if (isReplay) reply.header('idempotency-replayed', 'true')
      return reply
        .code(202)
        .type('application/json; charset=utf-8')
        .send(body as never)
    },
  )
}

function readIdempotency({ headers, bodyBytes }: FastifyRequest): IdempotencyClaim | null {
  const key = headers['idempotency-key']
  if (key === undefined) return null
  // Node joins what comes several times with ", ", and no key holds a space.
  const message = findIdempotencyKeyFault(`${key}`)
  if (message !== null) throw invalidRequest([{ path: 'Idempotency-Key', message }])
  return {
    key: `${key}`,
    bodyHash: createHash('sha256')
      .update(bodyBytes ?? '')
      .digest(),
  }
}
