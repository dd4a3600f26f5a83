/** GET /suppressions/export: the whole list, or what fits, as a table; read page by page while the client takes it. */
import { Readable } from 'node:stream'
import { streams, suppressionReasons, suppressionStatuses } from '@valija/core'
import { exportSuppressions } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, problems, type RoutePlugin, strictObject } from '../../route.ts'

const query = strictObject({
  reason: Type.Optional(Type.Enum([...suppressionReasons])),
  status: Type.Optional(Type.Enum([...suppressionStatuses])),
  stream: Type.Optional(
    Type.Enum([...streams], {
      description: 'Those that hold for this stream, those for both streams among them.',
    }),
  ),
})

export const exportSuppressionsRoute: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.get(
    '/suppressions/export',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'exportSuppressions',
        summary: 'Export the suppressed addresses',
        description:
          'As CSV (RFC 4180), newest first. A cell that a spreadsheet could take for a formula begins with an apostrophe, which the import takes off.',
        tags: ['Suppressions'],
        querystring: query,
        response: {
          200: {
            description: 'The list; the first line names the columns.',
            content: { 'text/csv': { schema: Type.String() } },
          },
          ...problems(400),
        },
      },
    },
    async (request, reply) => {
      const stop = new AbortController()
      reply.raw.once('close', () => stop.abort())
      const lines = await exportSuppressions(desk, callerOf(request), request.query, stop.signal)
      return reply
        .type('text/csv; charset=utf-8')
        .header('content-disposition', 'attachment; filename="suppressions.csv"')
        .header('cache-control', 'no-store')
        .send(Readable.from(lines) as never)
    },
  )
}
