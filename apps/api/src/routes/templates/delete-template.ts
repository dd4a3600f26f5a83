/** DELETE /templates/:id: forget a template with all its versions. */
import { removeTemplate } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const deleteTemplate: RoutePlugin = (app, { database }) => {
  app.delete(
    '/templates/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'deleteTemplate',
        summary: 'Forget a template',
        description:
          'With all its versions. Mails that were accepted are sent as they were rendered. A layout or partial that is used cannot be forgotten.',
        tags: ['Templates'],
        params: idParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problems(404, 409) },
      },
    },
    async (request, reply) => {
      await removeTemplate({ database }, callerOf(request), request.params.id)
      return reply.code(204).send(null)
    },
  )
}
