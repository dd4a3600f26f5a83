/** GET /source-ips/:id. */
import { showSource } from '@valija/flows'
import { idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Source } from './schemas.ts'

export const getSource: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.get(
    '/source-ips/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'getSource',
        summary: 'Show a source address',
        tags: ['Source addresses'],
        params: idParams,
        response: { 200: ref(Source), ...problems(404) },
      },
    },
    (request) => showSource(desk, request.params.id),
  )
}
