/** POST /keys: make an API key. */
import { addKey } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { CreatedKey, KeyInput } from './schemas.ts'

export const createKey: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.post(
    '/keys',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'createKey',
        summary: 'Make an API key',
        description:
          'The key itself is in this answer only. A key makes no key that can do more than itself.',
        tags: ['Keys'],
        body: ref(KeyInput),
        response: { 201: ref(CreatedKey), ...problems(400, 403, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addKey(desk, callerOf(request), request.body)),
  )
}
