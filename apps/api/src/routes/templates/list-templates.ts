/** GET /templates: newest first. */
import { type TemplateKind, templateKinds } from '@valija/core'
import { showTemplates } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { TemplateSummary } from './schemas.ts'

const query = strictObject({
  slug: Type.Optional(Type.String({ description: 'Only the one with this slug.' })),
  kind: Type.Optional(Type.Unsafe<TemplateKind>(Type.Enum([...templateKinds]))),
  ...pageQuery,
})

export const listTemplates: RoutePlugin = (app, { database }) => {
  app.get(
    '/templates',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listTemplates',
        summary: 'List the templates',
        description: 'Newest first, layouts and partials as well, without what they hold.',
        tags: ['Templates'],
        querystring: query,
        response: { 200: page(ref(TemplateSummary)), ...problems(400) },
      },
    },
    (request) => showTemplates({ database }, callerOf(request), request.query),
  )
}
