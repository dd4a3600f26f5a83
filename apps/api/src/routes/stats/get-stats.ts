/** GET /stats: what became of the tenant's mail, in numbers. */
import { showStats } from '@valija/flows'
import { Type } from 'typebox'
import { readTime } from '../../query-time.ts'
import { callerOf, nullable, problems, type RoutePlugin, ref, time } from '../../route.ts'
import { StatsRow, statsQuery } from './schemas.ts'

export const getStats: RoutePlugin = (app, { database, clock }) => {
  const desk = { database, nowMs: () => clock.nowMs() }
  app.get(
    '/stats',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getStats',
        summary: 'See what became of your mail',
        description:
          'Counted from the events, some seconds late: `as_of` says up to when. Each event counts in the hour in which it happened, whenever its mail was accepted. Rows in which nothing happened are left out. Mails of the simulator do not count.',
        tags: ['Statistics'],
        querystring: statsQuery,
        response: {
          200: Type.Object({
            data: Type.Array(ref(StatsRow)),
            after: time('From when on is counted.'),
            before: time('Until when.'),
            interval: Type.Enum(['hour', 'day', 'total']),
            as_of: nullable(
              time('All that `/events` showed by then is counted; null before the first time.'),
            ),
          }),
          ...problems(400),
        },
      },
    },
    (request) => {
      const { after, before, interval = 'day', ...rest } = request.query
      const afterMs = readTime('after', after)
      const beforeMs = readTime('before', before)
      return showStats(desk, callerOf(request), {
        ...rest,
        interval,
        ...(afterMs !== undefined && { afterMs }),
        ...(beforeMs !== undefined && { beforeMs }),
      })
    },
  )
}
