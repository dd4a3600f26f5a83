/** Tenants: the operator's routes. */
import type { RouteGroup } from '../../route.ts'
import { createTenant } from './create-tenant.ts'
import { deleteTenant } from './delete-tenant.ts'
import { getTenant } from './get-tenant.ts'
import { listTenants } from './list-tenants.ts'
import { CreatedTenant, Tenant, TenantChange, TenantInput } from './schemas.ts'
import { updateTenant } from './update-tenant.ts'

export const tenantRoutes: RouteGroup = {
  tag: { name: 'Tenants', description: 'Tenants of this installation; with the operator’s key only.' },
  schemas: [Tenant, CreatedTenant, TenantInput, TenantChange],
  routes: [listTenants, createTenant, getTenant, updateTenant, deleteTenant],
}
