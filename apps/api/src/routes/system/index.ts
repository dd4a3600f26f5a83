/** The process itself: health, readiness, metrics, and the API's description. */
import type { RouteGroup } from '../../route.ts'
import { getHealth } from './get-health.ts'
import { getMetrics } from './get-metrics.ts'
import { getOpenApi } from './get-openapi.ts'
import { getReadiness, Readiness } from './get-readiness.ts'

export const systemRoutes: RouteGroup = {
  tag: { name: 'System', description: 'Health, readiness and metrics of the process.' },
  schemas: [Readiness],
  routes: [getHealth, getReadiness, getMetrics, getOpenApi],
}
