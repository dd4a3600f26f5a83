/** GET /: whoever opens the address that `npm start` printed finds the reference page. */
import type { RoutePlugin } from '../route.ts'

export const startPage: RoutePlugin = (app) => {
  app.get('/', { config: { scope: null }, schema: { hide: true } }, (_request, reply) =>
    reply.redirect('/docs'),
  )
}
