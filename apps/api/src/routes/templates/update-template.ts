/** PATCH /templates/:id: change a template, as a new version. */
import { changeTemplate } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Template, TemplateChange } from './schemas.ts'

export const updateTemplate: RoutePlugin = (app, { database, nextId, renderer, templateDesk }) => {
  const desk = { database, nextId, renderer, templateDesk }
  app.patch(
    '/templates/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateTemplate',
        summary: 'Change a template',
        description:
          'Fields that are absent stay as they are. Another subject, text, html or variables make a new version: a draft that is not sent before it is published, at once with `"publish": true`. Slug and name change at once. A layout or partial that is used keeps its slug.',
        tags: ['Templates'],
        params: idParams,
        body: ref(TemplateChange),
        response: { 200: ref(Template), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => changeTemplate(desk, callerOf(request), request.params.id, request.body),
  )
}
