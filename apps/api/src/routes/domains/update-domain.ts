/** PATCH /domains/:id: change how a domain is signed, and what the operator vouches for. */
import { changeDomain } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain, DomainChange } from './schemas.ts'

export const updateDomain: RoutePlugin = (app, { database, wake, nextId, sealer, domainHosts }) => {
  const desk = { database, wake, nextId, sealer, domainHosts }
  app.patch(
    '/domains/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateDomain',
        summary: 'Change a sender domain',
        description:
          'How its mails are signed; with the key of the operator also what the operator vouches for. A key of a new algorithm needs its record first.',
        tags: ['Domains'],
        params: idParams,
        body: ref(DomainChange),
        response: { 200: ref(Domain), ...problems(400, 403, 404, 409, 413, 415) },
      },
    },
    (request) => changeDomain(desk, callerOf(request), request.params.id, request.body),
  )
}
