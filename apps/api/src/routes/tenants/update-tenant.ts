/** PATCH /tenants/:id: change a tenant. */
import { changeTenant } from '@valija/flows'
import { idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { checkDays } from './check-days.ts'
import { Tenant, TenantChange } from './schemas.ts'

export const updateTenant: RoutePlugin = (app, { database, wake, nextId, options }) => {
  const desk = { database, wake, nextId }
  app.patch(
    '/tenants/:id',
    {
      config: { scope: 'operator' },
      schema: {
        operationId: 'updateTenant',
        summary: 'Change a tenant',
        description: 'Fields that are absent stay as they are.',
        tags: ['Tenants'],
        params: idParams,
        body: ref(TenantChange),
        response: { 200: ref(Tenant), ...problems(400, 404, 409, 413, 415) },
      },
    },
    (request) => {
      checkDays(request.body, options)
      return changeTenant(desk, request.params.id, request.body)
    },
  )
}
