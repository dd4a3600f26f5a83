/** GET /suppressions: search, newest first. */

import { streams, suppressionReasons, suppressionStatuses } from '@valija/core'
import { showSuppressions } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Suppression } from './schemas.ts'

const query = strictObject({
  email: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1000,
      description: 'An address; the case of its local part does not matter.',
    }),
  ),
  reason: Type.Optional(Type.Enum([...suppressionReasons])),
  status: Type.Optional(Type.Enum([...suppressionStatuses])),
  stream: Type.Optional(
    Type.Enum([...streams], {
      description: 'Those that hold for this stream, those for both streams among them.',
    }),
  ),
  ...pageQuery,
})

export const listSuppressions: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.get(
    '/suppressions',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listSuppressions',
        summary: 'Search the suppressed addresses',
        description:
          'Newest first. All conditions must hold. What was taken off the list is shown by `status=removed` alone.',
        tags: ['Suppressions'],
        querystring: query,
        response: { 200: page(ref(Suppression)), ...problems(400) },
      },
    },
    (request) => showSuppressions(desk, callerOf(request), request.query),
  )
}
