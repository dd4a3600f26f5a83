/** GET /tls-report: sessions with receivers by day, domain, policy, exchanger and how TLS went (RFC 8460). */

import { listTlsReports } from '@valija/store'
import { Type } from 'typebox'
import { readTlsReportCursor, tlsReportCursor } from '../../cursor.ts'
import { named, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'

export const TlsReportEntry = named(
  'TlsReportEntry',
  Type.Object(
    {
      day: Type.String({ format: 'date', description: 'In UTC.', examples: ['2026-11-23'] }),
      domain: Type.String({ description: 'The recipients’ domain.' }),
      policy: Type.Enum(['tlsa', 'sts', 'no-policy-found'], {
        description: 'What applied: DANE (`tlsa`), MTA-STS (`sts`), or nothing.',
      }),
      mx: Type.String({ description: 'The mail exchanger.' }),
      result: Type.String({
        description: '`success`, or a failure by its name in RFC 8460, section 4.3.',
        examples: ['success', 'certificate-expired', 'starttls-not-supported'],
      }),
      sessions: Type.Integer({ description: 'How many.' }),
    },
    { description: 'Sessions of one day with one exchanger that went the same way.' },
  ),
)

export const listTlsReport: RoutePlugin = (app, { database }) => {
  app.get(
    '/tls-report',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'listTlsReport',
        summary: 'See how TLS goes with receivers',
        description:
          'The newest day first. Counted by all workers, some seconds late, and kept for 60 days. A failure under `sts` or `tlsa` is a receiver that does not keep what it promised: mail to it waits.',
        tags: ['TLS report'],
        querystring: strictObject({
          domain: Type.Optional(
            Type.String({
              maxLength: 253,
              description: 'Only this domain, in A-labels.',
              examples: ['example.com'],
            }),
          ),
          day: Type.Optional(
            Type.String({
              format: 'date',
              pattern: '^20',
              description: 'Only this day, in UTC.',
              examples: ['2026-11-23'],
            }),
          ),
          ...pageQuery,
        }),
        response: { 200: page(ref(TlsReportEntry)), ...problems(400) },
      },
    },
    async (request) => {
      const { domain, day, limit, cursor } = request.query
      const rows = await listTlsReports(database.engine, {
        domain: domain?.toLowerCase() ?? null,
        day: day ?? null,
        after: cursor === undefined ? null : readTlsReportCursor(cursor),
        limit: limit + 1,
      })
      const data = rows.slice(0, limit)
      const last = rows.length > limit ? data.at(-1) : undefined
      return { data, next_cursor: last === undefined ? null : tlsReportCursor(last) }
    },
  )
}
