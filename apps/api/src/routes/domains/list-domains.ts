/** GET /domains: newest first. */
import { showDomains } from '@valija/flows'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Domain } from './schemas.ts'

export const listDomains: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.get(
    '/domains',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'listDomains',
        summary: 'List the sender domains',
        description: 'Newest first.',
        tags: ['Domains'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Domain)), ...problems(400) },
      },
    },
    (request) => showDomains(desk, callerOf(request), request.query),
  )
}
