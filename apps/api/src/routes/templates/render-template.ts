/** POST /templates/:id/render: what it renders to. Nothing is stored and nothing is sent. */
import { showRendering } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { TemplateRendering, TemplateTrial } from './schemas.ts'

export const renderTemplate: RoutePlugin = (app, { database, templateDesk }) => {
  app.post(
    '/templates/:id/render',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'renderTemplate',
        summary: 'Render a template',
        description:
          'The newest version, published or not, or the one that is named, with its layouts and partials as they are published. A layout or partial is rendered by itself. What is missing or of another type is told at `/variables/…`.',
        tags: ['Templates'],
        params: idParams,
        body: ref(TemplateTrial),
        response: { 200: ref(TemplateRendering), ...problems(400, 404, 413, 415) },
      },
    },
    (request) =>
      showRendering({ database, templateDesk }, callerOf(request), request.params.id, request.body ?? {}),
  )
}
