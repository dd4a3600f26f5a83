/** POST /domains/:id/rotate-dkim: new DKIM keys, which take over once their records are seen. */

import { rotateDkim as rotate } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain, RotationInput } from './schemas.ts'

export const rotateDkim: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.post(
    '/domains/:id/rotate-dkim',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'rotateDkim',
        summary: 'Begin to sign by new keys',
        description:
          'The new keys are in `records` with state `next`; mail is signed by the present ones until the record of a new one is seen, by POST /domains/:id/verify or by itself. Then it is `active`, and the one before it `retiring`: its record is to stay for 7 days. Asked again meanwhile, it shows the rotation under way. With `keys` it takes your own, at once where no record was seen yet.',
        tags: ['Domains'],
        params: idParams,
        body: Type.Unsafe<{ keys?: { private_key: string; selector?: string }[] } | null>(ref(RotationInput)),
        response: { 200: ref(Domain), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => rotate(desk, callerOf(request), request.params.id, request.body?.keys ?? []),
  )
}
