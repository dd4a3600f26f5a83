/**
 * The HTTP API, built and not listening: what every request passes through before and after its endpoint, in this order.
 *
 *   onRequest      refuse while closing → headers → caller by key, scope of the route (hooks below; before any body is read)
 *   parsing        octets within limit and budget → JSON (json-body.ts)
 *   validation     query, path and body by the route's schemas (validators.ts)
 *   handler        routes/…, each in bounded time (answer-in-time.ts)
 *   errors         one handler for all (problem.ts)
 */
import type { IncomingMessage } from 'node:http'
import cors from '@fastify/cors'
import { invalidRequest, ProductError } from '@valija/core'
import { type Credentials, requireAccess } from '@valija/flows'
import Fastify, { type FastifyInstance, type FastifyRequest, LogController, type RouteOptions } from 'fastify'
import { createAddressLimits } from './address-limits.ts'
import { createAllowedMethods } from './allowed-methods.ts'
import { answerInTime, lookUpInTime } from './answer-in-time.ts'
import { registerAudit } from './audit-requests.ts'
import { bodyLimitBytes, maxBodyBytes } from './body-limits.ts'
import { answerBrokenRequest } from './broken-request.ts'
import { createByteBudget } from './byte-budget.ts'
import type { ApiDependencies } from './dependencies.ts'
import { registerJsonBody } from './json-body.ts'
import { registerDocs, registerOpenApi } from './openapi.ts'
import { createNotFound, Problem, sendError } from './problem.ts'
import { registerRateLimitHeaders } from './rate-limit-headers.ts'
import { createRequestLog } from './request-log.ts'
import { type App, problems, type RouteScope, strictObject } from './route.ts'
import { routeGroups } from './routes/index.ts'
import { registerSecurityHeaders } from './security-headers.ts'
import { createValidatorCompiler } from './validators.ts'

/**
 * A client has this long to send a whole request (A7: Fastify's default is no limit): the largest body at 5 Mbit/s.
 * Silence on the connection may last longer, because GET /inbox?wait=60s answers nothing for a minute.
 */
const requestTimeoutMs = 120_000
const headersTimeoutMs = 20_000
const connectionTimeoutMs = 90_000
/** Longer than the usual 60 s of load balancers, so that it is never we who hang up on one. */
const keepAliveTimeoutMs = 72_000

/**
 * Builds the API. It opens no port.
 *
 * @param isDescribed whether it can be asked for its OpenAPI document, which takes longer to build
 */
export async function buildApp(dependencies: ApiDependencies, isDescribed = false): Promise<FastifyInstance> {
  const { options, log } = dependencies
  const app: App = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    childLoggerFactory: createRequestLog,
    genReqId: createRequestIds(),
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: connectionTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    http: { headersTimeout: headersTimeoutMs },
    forceCloseConnections: 'idle',
    // Refused by our own hook, as a problem.
    return503OnClosing: false,
    trustProxy: options.trustProxy.length > 0 ? options.trustProxy : false,
    frameworkErrors: sendError,
    clientErrorHandler: answerBrokenRequest,
  })
  app.setErrorHandler(sendError)
  const methods = createAllowedMethods()
  app.addHook('onRoute', methods.note)
  app.setNotFoundHandler(createNotFound(methods))
  const schemas = [Problem, ...routeGroups.flatMap((group) => group.schemas)]
  for (const schema of schemas) app.addSchema(schema)
  app.setValidatorCompiler(createValidatorCompiler(schemas))
  // Answers are made by typed functions and checked against their schemas in tests. Compiling a serialiser for each of
  // the documented refusals took a second and 50 MB at the start, and would never be used.
  app.setSerializerCompiler(() => JSON.stringify)
  app.addHook('onRoute', completeRoute)
  refuseWhileClosing(app)
  await registerHeaders(app, dependencies)
  registerAuthentication(app, dependencies)
  registerRateLimitHeaders(app)
  registerAudit(app, dependencies)
  refuseNul(app)
  registerJsonBody(app, createByteBudget(3 * maxBodyBytes(options.maxMessageSizeBytes)))
  if (isDescribed) await registerOpenApi(app, dependencies)
  for (const group of routeGroups) {
    for (const route of group.routes) route(app, dependencies)
  }
  registerDocs(app)
  await app.ready()
  return app as unknown as FastifyInstance
}

/** `req_` and what finds a request in the log: unique over processes and restarts. */
function createRequestIds(): (request: IncomingMessage) => string {
  const process = Math.floor(Math.random() * 36 ** 6)
    .toString(36)
    .padStart(6, '0')
  const started = Date.now().toString(36)
  let count = 0
  return () => `req_${started}${process}${(++count).toString(36)}`
}

/** Not ours but of the package for CORS: open to anybody. */
const foreignRoute = 'OPTIONS *'

/**
 * Every route says who may use it and refuses what it does not know: a route that says nothing stops the start.
 */
export function completeRoute(route: RouteOptions): void {
  if (`${route.method} ${route.url}` === foreignRoute) route.config = { ...route.config, scope: null }
  const scope = route.config?.scope
  if (scope === undefined)
    throw new TypeError(`${route.method} ${route.url} does not say who may use it (config.scope)`)
  answerInTime(route)
  if (route.schema?.hide) return
  const takesBody = route.method === 'POST' || route.method === 'PATCH'
  const schema = { ...route.schema }
  schema.querystring ??= strictObject({})
  schema.description = [schema.description, whoMay(scope)].filter(Boolean).join(' ')
  schema.security = scope === null ? [] : [{ apiKey: [] }]
  schema.response = {
    ...problems(400, 500),
    // 404: the tenant that the operator wants to act for.
    ...(scope !== null && problems(401, 403, 404, 429, 503)),
    ...(takesBody && problems(413, 415)),
    ...(schema.response as object),
  }
  route.schema = schema
}

/** As the description of every operation ends. */
function whoMay(scope: RouteScope): string {
  if (scope === null) return 'Takes no key.'
  if (scope === 'operator') return 'Only with the operator’s VALIJA_ADMIN_KEY.'
  return `Takes a key with the scope \`${scope}\`.`
}

/** Also what was begun before is told to come back elsewhere: a kept connection would be closed under its next request. */
function refuseWhileClosing(app: App): void {
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
  })
  app.addHook('onRequest', (_request, _reply, done) => {
    const detail = 'This process is stopping.'
    done(isClosing ? new ProductError('overloaded', { detail, retryAfterS: 1 }) : undefined)
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done()
  })
}

/** PostgreSQL stores no U+0000, so nothing can be found by it. Paths need no check: what is no id is not found. */
function refuseNul(app: App): void {
  app.addHook('preValidation', (request, _reply, done) => {
    const entries = request.url.includes('%00')
      ? Object.entries(request.query as Record<string, string | string[]>)
      : []
    const [key] = entries.find((entry) => entry.flat().some((text) => text.includes('\0'))) ?? []
    done(
      key === undefined ? undefined : invalidRequest([{ path: key, message: 'Holds U+0000. Leave it out.' }]),
    )
  })
}

async function registerHeaders(app: App, { options }: ApiDependencies): Promise<void> {
  registerSecurityHeaders(app, options.publicUrl, options.corsOrigins.length > 0)
  if (options.corsOrigins.length === 0) return
  await app.register(cors, {
    origin: options.corsOrigins,
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'idempotency-key', 'valija-tenant'],
    exposedHeaders: ['idempotency-replayed', 'ratelimit', 'ratelimit-policy', 'retry-after'],
    maxAge: 600,
  })
}

/** The only place that lets a request in: by the route's own declaration, before its body is read. */
function registerAuthentication(app: App, { authenticate, allowances, options }: ApiDependencies): void {
  const addresses = createAddressLimits(options.maxRequestsPerAddress)
  app.decorateRequest('caller', null)
  app.decorateRequest('lookUpMs', 0)
  app.decorateRequest('answerByMs', 0)
  const letIn = async (request: FastifyRequest, credentials: Credentials) => {
    const { scope, mayLackTenant } = request.routeOptions.config
    const { ip, authorization } = credentials
    const caller = await addresses.letIn(ip, authorization, () => authenticate(credentials))
    // `undefined` cannot be: completeRoute has seen every route.
    requireAccess(caller, scope ?? 'operator', mayLackTenant)
    request.caller = caller
    await allowances.countRequest(caller)
  }
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.routeOptions.config.scope === null) return
    const tenant = request.headers['valija-tenant']
    if (Array.isArray(tenant))
      throw invalidRequest([{ path: 'Valija-Tenant', message: 'Must be given once.' }])
    await lookUpInTime(
      request,
      letIn(request, { authorization: request.headers.authorization, tenant, ip: request.ip }),
    )
  })
}
