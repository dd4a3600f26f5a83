/** Deletion of what is kept about a person. */
import type { RouteGroup } from '../../route.ts'
import { getErasure } from './get-erasure.ts'
import { listErasures } from './list-erasures.ts'
import { requestErasure } from './request-erasure.ts'
import { erasureSchemas } from './schemas.ts'

export const erasureRoutes: RouteGroup = {
  tag: { name: 'Erasures', description: 'Deletion of what is kept about one person.' },
  schemas: erasureSchemas,
  routes: [requestErasure, listErasures, getErasure],
}
