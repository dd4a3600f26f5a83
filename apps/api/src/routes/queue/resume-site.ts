/** POST /queue/sites/:id/resume: lift a suspension before its time. */
import { resumeSite } from '@valija/flows'
import { idParams, noBody, problems, type RoutePlugin, ref } from '../../route.ts'
import { QueuedSite } from './schemas.ts'

export const resumeQueuedSite: RoutePlugin = (app, { database, wake, clock }) => {
  const desk = { database, wake, clock }
  app.post(
    '/queue/sites/:id/resume',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'resumeSite',
        summary: 'Lift a suspension',
        description:
          'The site is tried again now, by one connection at first; if it goes on refusing, it is suspended anew. What is held back there of single tenants and domains is let go.',
        tags: ['Queue'],
        params: idParams,
        body: noBody,
        response: { 200: ref(QueuedSite), ...problems(400, 404) },
      },
    },
    (request) => resumeSite(desk, request.params.id),
  )
}
