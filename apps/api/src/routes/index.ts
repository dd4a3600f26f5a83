/** All routes, in the order of the reference page. */
import { pageRoutes } from '../pages/index.ts'
import type { RouteGroup } from '../route.ts'
import { auditRoutes } from './audit/index.ts'
import { domainRoutes } from './domains/index.ts'
import { erasureRoutes } from './erasures/index.ts'
import { eventRoutes } from './events/index.ts'
import { inboxRoutes } from './inbox/index.ts'
import { keyRoutes } from './keys/index.ts'
import { mailboxRoutes } from './mailboxes/index.ts'
import { messageRoutes } from './messages/index.ts'
import { queueRoutes } from './queue/index.ts'
import { mailRoutes } from './routes/index.ts'
import { sourceRoutes } from './source-ips/index.ts'
import { statsRoutes } from './stats/index.ts'
import { suppressionRoutes } from './suppressions/index.ts'
import { systemRoutes } from './system/index.ts'
import { templateRoutes } from './templates/index.ts'
import { tenantRoutes } from './tenants/index.ts'
import { tlsReportRoutes } from './tls-report/index.ts'
import { unsubscribeRoutes } from './unsubscribe/index.ts'
import { webhookRoutes } from './webhooks/index.ts'

export const routeGroups: readonly RouteGroup[] = [
  messageRoutes,
  eventRoutes,
  statsRoutes,
  webhookRoutes,
  domainRoutes,
  templateRoutes,
  suppressionRoutes,
  unsubscribeRoutes,
  erasureRoutes,
  inboxRoutes,
  mailRoutes,
  mailboxRoutes,
  keyRoutes,
  auditRoutes,
  tenantRoutes,
  queueRoutes,
  tlsReportRoutes,
  sourceRoutes,
  systemRoutes,
  pageRoutes,
]
