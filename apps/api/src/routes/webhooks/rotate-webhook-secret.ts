/** POST /webhooks/:id/rotate-secret: a new secret, beside which the former signs for a while. */

import { secretOverlap } from '@valija/core'
import { rotateSecret } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { RotatedSecret } from './schemas.ts'

const overlap = Type.Integer({
  minimum: 0,
  maximum: secretOverlap.longestS,
  default: secretOverlap.usualS,
  description:
    'How long the former secret signs as well, in seconds. 0: not at all, for a secret that others know.',
})

/** A body need not be there. */
const input = Type.Unsafe<{ overlap_seconds?: number } | null>({
  type: ['object', 'null'],
  properties: { overlap_seconds: overlap },
  additionalProperties: false,
})

export const rotateWebhookSecret: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.post(
    '/webhooks/:id/rotate-secret',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'rotateWebhookSecret',
        summary: 'Give a webhook a new secret',
        description:
          'During the overlap every webhook carries a signature by each secret, the newest first, so a receiver may check either. Tries that are under way bear the former signature only, for up to 15 s. Rotated again during an overlap, the older secrets sign as long as they were promised to, and none longer than the new overlap.',
        tags: ['Webhooks'],
        params: idParams,
        body: input,
        response: { 200: ref(RotatedSecret), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => rotateSecret(desk, callerOf(request), request.params.id, request.body?.overlap_seconds),
  )
}
