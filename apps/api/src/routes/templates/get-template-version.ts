/** GET /templates/:id/versions/:version. */
import { showTemplateVersion } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { TemplateVersion } from './schemas.ts'

const params = strictObject({
  id: Type.String({ description: 'The template’s id, with its prefix.' }),
  version: Type.String({ description: 'The number of the version.' }),
})

export const getTemplateVersion: RoutePlugin = (app, { database }) => {
  app.get(
    '/templates/:id/versions/:version',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getTemplateVersion',
        summary: 'Read a version of a template',
        tags: ['Templates'],
        params,
        response: { 200: ref(TemplateVersion), ...problems(404) },
      },
    },
    (request) => {
      const { id, version } = request.params
      return showTemplateVersion({ database }, callerOf(request), id, version)
    },
  )
}
