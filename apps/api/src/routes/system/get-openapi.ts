/** GET /openapi.json and /openapi.yaml: this API, described. */
import type { RoutePlugin } from '../../route.ts'

export const getOpenApi: RoutePlugin = (app, { options }) => {
  let description: Promise<{ json: string; yaml: string }> | null = null
  // Made when it is first asked for: at every start it would take 0.1 s. What failed is tried again.
  const describe = async () => {
    const { describeApi } = await import('../../openapi-file.ts')
    description ??= describeApi(options.publicUrl).catch((error: unknown) => {
      description = null
      throw error
    })
    return description
  }
  app.get('/openapi.json', { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
    const { json } = await describe()
    return reply.type('application/json; charset=utf-8').send(json)
  })
  // RFC 9512.
  app.get('/openapi.yaml', { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
    const { yaml } = await describe()
    return reply.type('application/yaml; charset=utf-8').send(yaml)
  })
}
