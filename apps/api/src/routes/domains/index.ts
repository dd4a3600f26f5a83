/** Sender domains. */
import type { RouteGroup } from '../../route.ts'
import { createDomain } from './create-domain.ts'
import { deleteDomain } from './delete-domain.ts'
import { getDomain } from './get-domain.ts'
import { listDomains } from './list-domains.ts'
import { domainSchemas } from './schemas.ts'
import { updateDomain } from './update-domain.ts'

export const domainRoutes: RouteGroup = {
  tag: { name: 'Domains', description: 'The domains that a tenant sends from.' },
  schemas: domainSchemas,
  routes: [listDomains, createDomain, getDomain, updateDomain, deleteDomain],
}
