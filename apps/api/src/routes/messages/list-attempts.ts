/** GET /messages/:id/attempts: every try, oldest first, with the SMTP conversation for those who may read content. */
import { ProductError, parseId } from '@valija/core'
import { findAttempts } from '@valija/store'
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
import { Attempt, showAttempt } from './schemas.ts'

export const listAttempts: RoutePlugin = (app, { database }) => {
  app.get(
    '/messages/:id/attempts',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listAttempts',
        summary: 'List a message’s attempts, oldest first',
        description: 'With the SMTP conversation if the key has the scope read:content.',
        tags: ['Messages'],
        params: idParams,
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Attempt)), ...problems(400, 404) },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const after = readIdCursor(cursor)
      const { tenantId, scopes } = callerOf(request)
      const id = parseId('message', request.params.id)
      const rows = id && (await findAttempts(database, tenantId, id, { after, limit: limit + 1 }))
      if (!rows) throw new ProductError('not_found', { detail: 'There is no such message.' })
      // The report's fields are the schema's: the worker wrote them so (packages/flows/src/judge-attempt.ts).
      return toPage(rows, limit, (row) => showAttempt(row, scopes.has('read:content'))) as never
    },
  )
}
