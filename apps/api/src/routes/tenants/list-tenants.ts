/** GET /tenants: oldest first, the default tenant before all others. */
import { showTenants } from '@valija/flows'
import { page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Tenant } from './schemas.ts'

export const listTenants: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.get(
    '/tenants',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'listTenants',
        summary: 'List the tenants',
        description: 'Oldest first, the default tenant before all others.',
        tags: ['Tenants'],
        querystring: strictObject(pageQuery),
        response: { 200: page(ref(Tenant)), ...problems(400) },
      },
    },
    (request) => showTenants(desk, request.query),
  )
}
