/** GET /queue: what waits, and which receivers are slowed. */
import { showQueue } from '@valija/flows'
import { problems, type RoutePlugin, ref } from '../../route.ts'
import { Queue } from './schemas.ts'

export const getQueue: RoutePlugin = (app, { database, wake, clock }) => {
  const desk = { database, wake, clock }
  app.get(
    '/queue',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'getQueue',
        summary: 'Show what waits, and where',
        description:
          'Counts recipients that are not at their end, and shows receiving sites that are slowed or in use, with the reply that caused it.',
        tags: ['Queue'],
        response: { 200: ref(Queue), ...problems() },
      },
    },
    () => showQueue(desk),
  )
}
