/** Sender domains. */
import type { RouteGroup } from '../../route.ts'
import { createDomain } from './create-domain.ts'
import { deleteDomain } from './delete-domain.ts'
import { getDomain } from './get-domain.ts'
import { getZone } from './get-zone.ts'
import { listDomainReports } from './list-domain-reports.ts'
import { listDomains } from './list-domains.ts'
import { reportSchemas } from './report-schemas.ts'
import { rotateDkim } from './rotate-dkim.ts'
import { domainSchemas } from './schemas.ts'
import { updateDomain } from './update-domain.ts'
import { verifyDomain } from './verify-domain.ts'

export const domainRoutes: RouteGroup = {
  tag: { name: 'Domains', description: 'The domains that a tenant sends from.' },
  schemas: [...domainSchemas, ...reportSchemas],
  routes: [
    listDomains,
    createDomain,
    getDomain,
    updateDomain,
    deleteDomain,
    verifyDomain,
    rotateDkim,
    getZone,
    listDomainReports,
  ],
}
