import type { RouteGroup } from '../../route.ts'
import { AuditEntry, listAudit } from './list-audit.ts'

export const auditRoutes: RouteGroup = {
  tag: { name: 'Audit', description: 'Who changed what of the management.' },
  schemas: [AuditEntry],
  routes: [listAudit],
}
