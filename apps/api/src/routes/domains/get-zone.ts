/** GET /domains/:id/zone: the domain's DNS records as a zone file. */

import { showZone } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin } from '../../route.ts'

export const getZone: RoutePlugin = (app, { database, domainHosts }) => {
  app.get(
    '/domains/:id/zone',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getDomainZone',
        summary: 'Show the DNS records of a sender domain as a zone file',
        description:
          'To be imported by a DNS provider or pasted into a zone. SPF and DMARC are left out where the domain was seen to have a record of its own.',
        tags: ['Domains'],
        params: idParams,
        response: {
          200: {
            description: 'A zone file (RFC 1035 section 5).',
            content: { 'text/plain': { schema: Type.String() } },
          },
          ...problems(404),
        },
      },
    },
    async (request, reply) => {
      const zone = await showZone({ database, domainHosts }, callerOf(request), request.params.id)
      return reply.type('text/plain; charset=utf-8').send(zone)
    },
  )
}
