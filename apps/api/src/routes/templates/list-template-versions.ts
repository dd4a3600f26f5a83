/** GET /templates/:id/versions: newest first. */
import { showTemplateVersions } from '@valija/flows'
import {
  callerOf,
  idParams,
  page,
  pageQuery,
  problems,
  type RoutePlugin,
  ref,
  strictObject,
} from '../../route.ts'
import { TemplateVersionSummary } from './schemas.ts'

export const listTemplateVersions: RoutePlugin = (app, { database }) => {
  app.get(
    '/templates/:id/versions',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listTemplateVersions',
        summary: 'List the versions of a template',
        description: 'Newest first, without what they hold. The last 100 are kept, and the published one.',
        tags: ['Templates'],
        params: idParams,
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(TemplateVersionSummary)), ...problems(400, 404) },
      },
    },
    (request) => showTemplateVersions({ database }, callerOf(request), request.params.id, request.query),
  )
}
