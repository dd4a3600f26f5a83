/** POST /suppressions/import: many addresses at once, as a table. The body is read while it is written: it is never there as a whole. */
import type { IncomingMessage } from 'node:http'
import { ProductError, type Stream, type SuppressionReason, streams, suppressionReasons } from '@valija/core'
import { importSuppressions } from '@valija/flows'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { checkEncoding } from '../../json-body.ts'
import { callerOf, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { SuppressionImport } from './schemas.ts'

/** A million addresses or so. */
const maxBytes = 32 * 1024 * 1024
/** Longer than the files that people have need; the request itself may take no longer (app.ts). */
const answerWithinMs = 110_000

const query = strictObject({
  dry_run: Type.Optional(Type.Boolean({ description: 'Write nothing, and answer what would be written.' })),
  stream: Type.Optional(Type.Enum([...streams], { description: 'Of all rows, whatever their column says.' })),
  reason: Type.Optional(
    Type.Enum([...suppressionReasons], { description: 'Of all rows, whatever their column says.' }),
  ),
})

interface Query {
  dry_run?: boolean
  stream?: Stream
  reason?: SuppressionReason
}

export const importSuppressionsRoute: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.register(async (tables) => {
    tables.removeAllContentTypeParsers()
    tables.addContentTypeParser('text/csv', async (request: FastifyRequest, payload: IncomingMessage) => {
      checkEncoding(request)
      return payload
    })
    tables.addContentTypeParser('*', async () => {
      throw new ProductError('unsupported_media_type', {
        detail: 'Send the file with "Content-Type: text/csv".',
      })
    })
    // The body is a stream: its lines are checked one by one.
    const compile = tables.validatorCompiler
    tables.setValidatorCompiler((part) => (part.httpPart === 'body' ? () => true : compile!(part)))
    tables.post(
      '/suppressions/import',
      {
        config: { scope: 'manage', answerWithinMs },
        schema: {
          operationId: 'importSuppressions',
          summary: 'Import suppressed addresses',
          description:
            'A CSV file (RFC 4180, UTF-8) whose first line names the columns: `email`, and if wanted `stream` (empty: both), `reason` (empty: manual) and `status`, as in the export; the names that other services use are understood. Lines with a fault are told, the others are kept. Sent again it changes nothing more.',
          tags: ['Suppressions'],
          querystring: query,
          body: { content: { 'text/csv': { schema: Type.String() } } },
          response: { 200: ref(SuppressionImport), ...problems(400, 413, 415) },
        },
      },
      async (request) => {
        const { dry_run: dryRun = false, ...given } = request.query as Query
        if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
          const detail = `The file is longer than ${maxBytes} octets. Send it in parts.`
          throw new ProductError('message_too_large', { detail })
        }
        // Left open: a refusal is answered on the same connection, however much of the file is still to come.
        const pieces = (request.body as IncomingMessage | undefined)?.iterator({ destroyOnReturn: false })
        const options = { dryRun, maxBytes, ...given }
        return importSuppressions(desk, callerOf(request), pieces ?? noPieces(), options).catch(
          (error: unknown) => {
            if (error instanceof ProductError || request.raw.complete) throw error
            throw new ProductError('invalid_request', { detail: 'The file ended too early.', cause: error })
          },
        )
      },
    )
  })
}

async function* noPieces(): AsyncGenerator<Buffer> {}
