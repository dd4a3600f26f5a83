/** What waits, and where: the operator's routes. */
import type { RouteGroup } from '../../route.ts'
import { getQueue } from './get-queue.ts'
import { resumeQueuedSite } from './resume-site.ts'
import { Queue, QueuedSite, SiteLimits } from './schemas.ts'

export const queueRoutes: RouteGroup = {
  tag: {
    name: 'Queue',
    description: 'What waits, and which receivers are slowed; with the operator’s key only.',
  },
  schemas: [Queue, QueuedSite, SiteLimits],
  routes: [getQueue, resumeQueuedSite],
}
