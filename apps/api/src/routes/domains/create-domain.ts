/** POST /domains: add a sender domain. */
import { addDomain } from '@valija/flows'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain, DomainInput } from './schemas.ts'

export const createDomain: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.post(
    '/domains',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'createDomain',
        summary: 'Add a sender domain',
        description:
          'A verified domain covers its subdomains too. The operator may vouch for one without DNS. A tenant has 10,000 domains at most.',
        tags: ['Domains'],
        body: ref(DomainInput),
        response: { 201: ref(Domain), ...problems(400, 403, 409, 413, 415) },
      },
    },
    async (request, reply) => reply.code(201).send(await addDomain(desk, callerOf(request), request.body)),
  )
}
