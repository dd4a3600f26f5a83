/** Named routes, and the lists that say who takes which. */
import type { RouteGroup } from '../../route.ts'
import { createRouteList } from '../route-lists/create-route-list.ts'
import { deleteRouteList } from '../route-lists/delete-route-list.ts'
import { getRouteList } from '../route-lists/get-route-list.ts'
import { listRouteLists } from '../route-lists/list-route-lists.ts'
import { RouteList, RouteListChange, RouteListInput } from '../route-lists/schemas.ts'
import { updateRouteList } from '../route-lists/update-route-list.ts'
import { createRoute } from './create-route.ts'
import { deleteRoute } from './delete-route.ts'
import { getRoute } from './get-route.ts'
import { listRoutes } from './list-routes.ts'
import { resumeRoute } from './resume-route.ts'
import { Route, RouteChange, RouteInput } from './schemas.ts'
import { updateRoute } from './update-route.ts'

export const mailRoutes: RouteGroup = {
  tag: {
    name: 'Routes',
    description: 'Ways that mail can take: relays, mail exchangers, the inbox; and which mail takes which.',
  },
  schemas: [Route, RouteInput, RouteChange, RouteList, RouteListInput, RouteListChange],
  routes: [
    listRoutes,
    createRoute,
    getRoute,
    updateRoute,
    deleteRoute,
    resumeRoute,
    listRouteLists,
    createRouteList,
    getRouteList,
    updateRouteList,
    deleteRouteList,
  ],
}
