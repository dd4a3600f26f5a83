/** All routes, in the order of the reference page. */
import { pageRoutes } from '../pages/index.ts'
import type { RouteGroup } from '../route.ts'
import { domainRoutes } from './domains/index.ts'
import { eventRoutes } from './events/index.ts'
import { inboxRoutes } from './inbox/index.ts'
import { keyRoutes } from './keys/index.ts'
import { messageRoutes } from './messages/index.ts'
import { systemRoutes } from './system/index.ts'
import { tenantRoutes } from './tenants/index.ts'
import { webhookRoutes } from './webhooks/index.ts'

export const routeGroups: readonly RouteGroup[] = [
  messageRoutes,
  eventRoutes,
  webhookRoutes,
  domainRoutes,
  inboxRoutes,
  keyRoutes,
  tenantRoutes,
  systemRoutes,
  pageRoutes,
]
