/** Statistics. */
import type { RouteGroup } from '../../route.ts'
import { getStats } from './get-stats.ts'
import { StatsRow } from './schemas.ts'

export const statsRoutes: RouteGroup = {
  tag: { name: 'Statistics', description: 'What became of your mail, in numbers.' },
  schemas: [StatsRow],
  routes: [getStats],
}
