/** GET /domains/:id/reports: what others report about a sender domain. */

import { showDomainReports } from '@valija/flows'
import { Type } from 'typebox'
import { readTime, timeQuery } from '../../query-time.ts'
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
import { ReportDay, reportSums } from './report-schemas.ts'

export const listDomainReports: RoutePlugin = (app, { database }) => {
  app.get(
    '/domains/:id/reports',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listDomainReports',
        summary: 'See what others report about a sender domain',
        description:
          'DMARC aggregate reports and TLS reports that came to the domain’s report address, summed up by day, the newest first, and over all days that were asked for (`totals`). Anybody can write to that address: take it for what others say, and not for proof. Kept as long as events.',
        tags: ['Domains'],
        params: idParams,
        querystring: strictObject({
          after: timeQuery('From the day of this time on.'),
          before: timeQuery('Up to the last day that begins before this time.'),
          ...pageQuery,
        }),
        response: {
          200: Type.Object({ ...page(ref(ReportDay)).properties, totals: Type.Object(reportSums) }),
          ...problems(400, 404),
        },
      },
    },
    (request) => {
      const { limit, cursor, after, before } = request.query
      const [afterMs, beforeMs] = [readTime('after', after), readTime('before', before)]
      return showDomainReports({ database }, callerOf(request), request.params.id, {
        limit,
        ...(cursor !== undefined && { cursor }),
        ...(afterMs !== undefined && { afterMs }),
        ...(beforeMs !== undefined && { beforeMs }),
      })
    },
  )
}
