/** PATCH /keys/:id: change what an API key may do. */
import { changeKey } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Key, KeyChange } from './schemas.ts'

export const updateKey: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.patch(
    '/keys/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateKey',
        summary: 'Change what an API key may do',
        description: 'Fields that are absent stay as they are.',
        tags: ['Keys'],
        params: idParams,
        body: ref(KeyChange),
        response: { 200: ref(Key), ...problems(400, 403, 404, 413, 415) },
      },
    },
    (request) => changeKey(desk, callerOf(request), request.params.id, request.body),
  )
}
