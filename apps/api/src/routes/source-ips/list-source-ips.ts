/** GET /source-ips: newest first. */
import { showSources } from '@valija/flows'
import { page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Source } from './schemas.ts'

export const listSources: RoutePlugin = (app, { database, wake, nextId, clock }) => {
  const desk = { database, wake, nextId, clock }
  app.get(
    '/source-ips',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'listSources',
        summary: 'List the source addresses',
        description: 'Newest first.',
        tags: ['Source addresses'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Source)), ...problems(400) },
      },
    },
    (request) => showSources(desk, request.query),
  )
}
