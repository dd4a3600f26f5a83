/** PATCH /domains/:id: change what the operator vouches for. */
import { changeDomain } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Domain, DomainChange } from './schemas.ts'

export const updateDomain: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.patch(
    '/domains/:id',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'updateDomain',
        summary: 'Change what the operator vouches for',
        description: 'Only with the key of the operator.',
        tags: ['Domains'],
        params: idParams,
        body: ref(DomainChange),
        response: { 200: ref(Domain), ...problems(400, 403, 404, 409, 413, 415) },
      },
    },
    (request) => changeDomain(desk, callerOf(request), request.params.id, request.body),
  )
}
