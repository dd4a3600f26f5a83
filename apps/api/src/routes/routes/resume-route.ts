/** POST /routes/:id/resume: end a pause. */
import { resumeRoute as resume } from '@valija/flows'
import { callerOf, idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { Route } from './schemas.ts'

export const resumeRoute: RoutePlugin = (app, { database, sealer, wake, nextId, clock }) => {
  const desk = { database, sealer, wake, nextId, clock }
  app.post(
    '/routes/:id/resume',
    {
      config: { scope: 'manage', mayLackTenant: true },
      schema: {
        operationId: 'resumeRoute',
        summary: 'Take a paused route into use again',
        description: 'Its mail goes on within half a minute.',
        tags: ['Routes'],
        params: idParams,
        body: noBody,
        response: { 200: ref(Route), ...problems(400, 404, 413, 415) },
      },
    },
    (request) => resume(desk, callerOf(request), request.params.id),
  )
}
