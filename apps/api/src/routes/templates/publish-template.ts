/** POST /templates/:id/publish: send this version from now on. */
import { publishTemplate as publish } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Template, TemplatePublication } from './schemas.ts'

export const publishTemplate: RoutePlugin = (app, { database, nextId, renderer, templateDesk }) => {
  const desk = { database, nextId, renderer, templateDesk }
  app.post(
    '/templates/:id/publish',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'publishTemplate',
        summary: 'Publish a version',
        description:
          'The newest, or an earlier one to go back to. Refused while it could not be sent: a layout or partial is not there, or uses itself; and a layout or partial while a published template that uses it could not be sent with it any more.',
        tags: ['Templates'],
        params: idParams,
        body: ref(TemplatePublication),
        response: { 200: ref(Template), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => publish(desk, callerOf(request), request.params.id, request.body?.version ?? null),
  )
}
