/** What routes that accept a message have in common: the key by which a repeated request is known, and the 202. */
import { createHash } from 'node:crypto'
import { findIdempotencyKeyFault, invalidRequest } from '@valija/core'
import type { IdempotencyClaim, SendAnswer } from '@valija/flows'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { ref } from '../../route.ts'
import { AcceptedMessage } from './schemas.ts'

export const idempotencyHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'At most 255 visible ASCII characters, per tenant. Kept until 24 h after acceptance or send_at: the same bytes get the stored answer, other bytes 409.',
    }),
  ),
})

export const acceptedResponse = {
  description: 'Accepted.',
  headers: {
    'Idempotency-Replayed': Type.Enum(['true'], {
      description: 'Present when this is the stored answer to an earlier request.',
    }),
  },
  content: { 'application/json': { schema: ref(AcceptedMessage) } },
}

/** @param about what else makes the request another one than its body's octets */
export function readIdempotency({ headers, bodyBytes }: FastifyRequest, about = ''): IdempotencyClaim | null {
  const key = headers['idempotency-key']
  if (key === undefined) return null
  // Node joins what comes several times with ", ", and no key holds a space.
  const message = findIdempotencyKeyFault(`${key}`)
  if (message !== null) throw invalidRequest([{ path: 'Idempotency-Key', message }])
  const bodyHash = createHash('sha256')
    .update(about)
    .update(bodyBytes ?? '')
    .digest()
  return { key: `${key}`, bodyHash }
}

/** The answer is the text that was stored with the message, so it is not serialised again. */
export function answerAccepted(reply: FastifyReply, { body, isReplay }: SendAnswer): FastifyReply {
  if (isReplay) reply.header('idempotency-replayed', 'true')
  return reply
    .code(202)
    .type('application/json; charset=utf-8')
    .send(body as never)
}
