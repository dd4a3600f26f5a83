/** GET /domains/:id. */
import { showDomain } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain } from './schemas.ts'

export const getDomain: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.get(
    '/domains/:id',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'getDomain',
        summary: 'Show a sender domain with its DNS records',
        tags: ['Domains'],
        params: idParams,
        response: { 200: ref(Domain), ...problems(404) },
      },
    },
    (request) => showDomain(desk, callerOf(request), request.params.id),
  )
}
