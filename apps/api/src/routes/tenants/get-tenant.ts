/** GET /tenants/:id. */
import { showTenant } from '@valija/flows'
import { idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { Tenant } from './schemas.ts'

export const getTenant: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.get(
    '/tenants/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'getTenant',
        summary: 'Show a tenant',
        tags: ['Tenants'],
        params: idParams,
        response: { 200: ref(Tenant), ...problems(404) },
      },
    },
    (request) => showTenant(desk, request.params.id),
  )
}
