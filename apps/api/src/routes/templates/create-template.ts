/** POST /templates: add a template, a layout or a partial. */
import { addTemplate } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Template, TemplateInput } from './schemas.ts'

export const createTemplate: RoutePlugin = (app, { database, nextId, renderer, templateDesk }) => {
  const desk = { database, nextId, renderer, templateDesk }
  app.post(
    '/templates',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'createTemplate',
        summary: 'Add a template',
        description:
          'Its first version is published at once, unless `publish` is false. What is wrong with its sources is told with the line.',
        tags: ['Templates'],
        body: ref(TemplateInput),
        response: { 201: ref(Template), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addTemplate(desk, callerOf(request), request.body)),
  )
}
