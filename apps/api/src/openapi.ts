/**
 * The OpenAPI document, made from the schemas by which requests are validated, and the page that shows it.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import type { ApiDependencies } from './dependencies.ts'
import type { App } from './route.ts'
import { routeGroups } from './routes/index.ts'

const description = `Send mail by \`POST /send\`; read what became of it by \`GET /messages\` and \`GET /events\`, or have webhooks told.

Authenticate by \`Authorization: Bearer <key>\`. Refusals are problems (RFC 9457) with a stable \`code\` and a \`fix\`.
Lists take \`limit\` and \`cursor\` and answer \`{data, next_cursor}\`. Unknown fields and unknown query keys are refused.
Times are RFC 3339 in UTC with milliseconds. Ids are a prefix and 32 hex digits of a UUIDv7.`

export async function registerOpenApi(app: App, { options }: ApiDependencies): Promise<void> {
  const { default: swagger } = await import('@fastify/swagger')
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      info: {
        title: 'Valija',
        version: '0.1.0',
        description,
        license: { name: 'MIT', identifier: 'MIT' } as never,
      },
      servers: [{ url: options.publicUrl ?? 'http://127.0.0.1:3000' }],
      tags: routeGroups.map((group) => group.tag),
      components: {
        securitySchemes: {
          apiKey: {
            type: 'http',
            scheme: 'bearer',
            description:
              'An API key `vlj_…`, or the operator’s VALIJA_ADMIN_KEY with `Valija-Tenant: ten_…`.',
          },
        },
      },
    },
    transformObject: (made) => {
      if (!('openapiObject' in made)) return made.swaggerObject
      for (const path of Object.values(made.openapiObject.paths ?? {}))
        for (const operation of Object.values(path ?? {})) markOptionalBody(operation as Operation)
      return made.openapiObject
    },
    refResolver: { buildLocalReference: (json) => String(json.$id) },
  })
}

interface Operation {
  requestBody?: { required?: boolean; content?: Record<string, { schema?: { type?: unknown } }> }
}

/** The generator says of every body that it is required; one that may be null need not be there (`noBody` in route.ts). */
function markOptionalBody({ requestBody }: Operation): void {
  const types = Object.values(requestBody?.content ?? {}).map(({ schema }) => schema?.type)
  if (requestBody && types.some((type) => Array.isArray(type) && type.includes('null')))
    requestBody.required = false
}

/** Nothing but this server is asked for anything; the page's program brings its styles with it. */
const docsPolicy =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** What the page is made of, by the package that makes it. */
const docsPaths = ['/docs', '/docs/', '/docs/js/scalar.js']

/** The reference page at /docs. */
export function registerDocs(app: App): void {
  // 5 MB of browser program, which take 0.1 s and 45 MB: loaded when somebody looks at the page, into an app of its own, because
  // one that serves already takes no more routes.
  let page: Promise<FastifyInstance> | null = null
  for (const path of docsPaths) {
    app.get(path, { config: { scope: null }, schema: { hide: true } }, async (_request, reply) => {
      page ??= openDocs().catch((error: unknown) => {
        page = null
        throw error
      })
      const { statusCode, headers, rawPayload } = await (await page).inject({ url: path })
      reply.code(statusCode).header('content-security-policy', docsPolicy)
      for (const name of ['content-type', 'location'] as const) {
        if (headers[name] !== undefined) reply.header(name, headers[name])
      }
      return reply.send(rawPayload)
    })
  }
}

async function openDocs(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const app = Fastify()
  await app.register(scalar, {
    routePrefix: '/docs',
    configuration: {
      url: '../openapi.json',
      pageTitle: 'Valija API',
      withDefaultFonts: false,
      telemetry: false,
      agent: { disabled: true },
      mcp: { disabled: true },
      hideClientButton: true,
      showDeveloperTools: 'never',
    },
  })
  await app.ready()
  return app
}
