/** DELETE /source-ips/:id: delete a source address. */

import { removeSource } from '@valija/flows'
import { Type } from 'typebox'
import { idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteSource: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.delete(
    '/source-ips/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'deleteSource',
        summary: 'Delete a source address',
        description: 'With its warm-up. Mail that waits for it takes another source.',
        tags: ['Source addresses'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404) },
      },
    },
    async (request, reply) => {
      await removeSource(desk, request.params.id)
      return reply.code(204).send(null)
    },
  )
}
