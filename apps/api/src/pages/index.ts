/** Pages for people. They are programs of the browser that speak the same HTTP API as everybody, with the key of the reader. */
import type { RouteGroup } from '../route.ts'
import { inboxPage } from './inbox.ts'
import { startPage } from './start.ts'

export const pageRoutes: RouteGroup = {
  tag: { name: 'Pages', description: 'Pages for people.' },
  schemas: [],
  routes: [startPage, inboxPage],
}
