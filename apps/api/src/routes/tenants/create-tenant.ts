/** POST /tenants: make a tenant. */
import { addTenant } from '@valija/flows'
import { problems, type RoutePlugin, ref } from '../../route.ts'
import { checkDays } from './check-days.ts'
import { CreatedTenant, TenantInput } from './schemas.ts'

export const createTenant: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId }
  app.post(
    '/tenants',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'createTenant',
        summary: 'Make a tenant',
        description: 'Its first key, with all scopes, is in this answer only.',
        tags: ['Tenants'],
        body: ref(TenantInput),
        response: { 201: ref(CreatedTenant), ...problems(400, 409, 413, 415) },
      },
    },
    async (request, reply) => {
      checkDays(request.body, options)
      return reply.code(201).send(await addTenant(desk, request.body))
    },
  )
}
