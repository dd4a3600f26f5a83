/** GET /templates/:id. */
import { showTemplate } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Template } from './schemas.ts'

export const getTemplate: RoutePlugin = (app, { database }) => {
  app.get(
    '/templates/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getTemplate',
        summary: 'Read a template',
        description: 'As its newest version is, published or not.',
        tags: ['Templates'],
        params: idParams,
        response: { 200: ref(Template), ...problems(404) },
      },
    },
    (request) => showTemplate({ database }, callerOf(request), request.params.id),
  )
}
