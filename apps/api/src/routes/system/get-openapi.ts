/** GET /openapi.json: this API, described. */
import type { RoutePlugin } from '../../route.ts'

export const getOpenApi: RoutePlugin = (app) => {
  let text: string | undefined
  app.get('/openapi.json', { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
    // The routes no longer change once the first request is answered.
    text ??= JSON.stringify(app.swagger())
    return reply.type('application/json; charset=utf-8').send(text)
  })
}
