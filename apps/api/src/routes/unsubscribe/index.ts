/** What the links in bulk mails lead to. */
import type { RouteGroup } from '../../route.ts'
import { showUnsubscribe } from './show-unsubscribe.ts'
import { unsubscribe } from './unsubscribe.ts'

export const unsubscribeRoutes: RouteGroup = {
  tag: {
    name: 'Unsubscribe',
    description: 'What the links in bulk mails lead to; for their readers, without a key.',
  },
  schemas: [],
  routes: [showUnsubscribe, unsubscribe],
}
