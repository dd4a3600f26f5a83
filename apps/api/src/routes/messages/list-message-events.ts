/** GET /messages/:id/events: a message's timeline, oldest first. */
import { ProductError, parseId } from '@valija/core'
import { readMessageEvents } from '@valija/store'
import { readIdCursor, toPage } from '../../cursor.ts'
import {
  callerOf,
  idParams,
  page,
  pageQuery,
  problems,
  type RoutePlugin,
  ref,
  strictObject,
} from '../../route.ts'
import { Event, showEvent, usualEventTypes } from '../../schemas/event.ts'

export const listMessageEvents: RoutePlugin = (app, { database }) => {
  app.get(
    '/messages/:id/events',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listMessageEvents',
        summary: 'List a message’s events, oldest first',
        description: 'Without message.attempted: GET /messages/{id}/attempts tells more.',
        tags: ['Messages'],
        params: idParams,
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Event)), ...problems(400, 404) },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const after = readIdCursor(cursor)
      const id = parseId('message', request.params.id)
      const rows =
        id &&
        (await readMessageEvents(
          database,
          callerOf(request).tenantId,
          id,
          { types: usualEventTypes },
          { after, limit: limit + 1 },
        ))
      if (!rows) throw new ProductError('not_found', { detail: 'There is no such message.' })
      return toPage(rows, limit, showEvent)
    },
  )
}
