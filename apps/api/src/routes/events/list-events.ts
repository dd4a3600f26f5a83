/** GET /events: the tenant's ordered stream. A reader that keeps asking with next_cursor sees every event once. */

import { readEvents, streamStart } from '@valija/store'
import { Type } from 'typebox'
import { eventCursor, readEventCursor } from '../../cursor.ts'
import { readTime, timeQuery } from '../../query-time.ts'
import { callerOf, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Event, readEventTypes, showEvent } from '../../schemas/event.ts'

export const listEvents: RoutePlugin = (app, { database }) => {
  app.get(
    '/events',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listEvents',
        summary: 'Read the stream of events, oldest first',
        description:
          'Nothing is ever skipped: an event appears once none can come before it any more. `next_cursor` is never null: ask again with it, now or after a restart. A look for rare types among very many events ends after half a second, and the cursor goes on.',
        tags: ['Events'],
        querystring: strictObject({
          type: Type.Optional(
            Type.Array(Type.String(), {
              maxItems: 100,
              description:
                'Only these types; repeated or separated by commas. Without it all but message.attempted, which must be named.',
            }),
          ),
          after: timeQuery('Only what happened at or after.'),
          ...pageQuery,
        }),
        response: {
          200: Type.Object({ data: Type.Array(ref(Event)), next_cursor: Type.String() }),
          ...problems(400),
        },
      },
    },
    async (request) => {
      const { type, after, limit, cursor } = request.query
      const afterMs = readTime('after', after)
      const { events, next } = await readEvents(
        database,
        callerOf(request).tenantId,
        { types: readEventTypes(type), ...(afterMs !== undefined && { afterMs }) },
        { from: cursor === undefined ? streamStart(afterMs) : readEventCursor(cursor), limit },
      )
      return { data: events.map(showEvent), next_cursor: eventCursor(next) }
    },
  )
}
