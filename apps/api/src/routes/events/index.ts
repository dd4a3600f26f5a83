/** The tenant's stream of events. */
import type { RouteGroup } from '../../route.ts'
import { Event } from '../../schemas/event.ts'
import { listEvents } from './list-events.ts'

export const eventRoutes: RouteGroup = {
  tag: { name: 'Events', description: 'What happened, in order.' },
  schemas: [Event],
  routes: [listEvents],
}
