/** GET /openapi.json and /openapi.yaml: this API, described. */
import type { RoutePlugin } from '../../route.ts'

export const getOpenApi: RoutePlugin = (app) => {
  let text: string | undefined
  let yaml: string | undefined
  app.get('/openapi.json', { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
    // The routes no longer change once the first request is answered.
    text ??= JSON.stringify(app.swagger())
    return reply.type('application/json; charset=utf-8').send(text)
  })
  // RFC 9512.
  app.get('/openapi.yaml', { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
    yaml ??= app.swagger({ yaml: true })
    return reply.type('application/yaml; charset=utf-8').send(yaml)
  })
}
