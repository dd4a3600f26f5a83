/** GET /unsubscribe/<token>: what the link would do, for people. It changes nothing, since programs follow links to look behind them. */
import type { RoutePlugin } from '../../route.ts'
import { createWrongLinkBudgets, linkPath, sendLost, tokenOf } from './links.ts'
import { askPage, sendPage } from './page.ts'

export const showUnsubscribe: RoutePlugin = (app, { unsubscribeDesk }) => {
  const wrongLinks = createWrongLinkBudgets()
  app.get(linkPath, { config: { scope: null }, schema: { hide: true } }, async (request, reply) => {
    const link = await unsubscribeDesk.look(tokenOf(request))
    return link ? sendPage(reply, 200, askPage(link)) : sendLost(request, reply, wrongLinks)
  })
}
