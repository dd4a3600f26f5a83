/**
 * What an endpoint looks like. One endpoint is one file that exports one `RoutePlugin`; a folder's `index.ts` puts its
 * endpoints together as a `RouteGroup`, and `app.ts` lists the groups. Nothing is found by a search of the disk.
 *
 *     routes/keys/get-key.ts      export const getKey: RoutePlugin = (app, { database }) => { app.get('/keys/:id', …) }
 *     routes/keys/schemas.ts      export const Key = named('Key', Type.Object({…}))
 *     routes/keys/index.ts        export const keyRoutes: RouteGroup = { tag, schemas: [Key], routes: [listKeys, getKey] }
 *
 * What every route gives (the app refuses to be built without it):
 *   - `config.scope`: what the caller's key must be allowed to do; null for a route without authentication;
 *   - `schema.operationId`, `summary`, `tags: [tag.name]`, and a response for each status: successes by schema, refusals by
 *     `problems(409, …)`. What any route can refuse with (400 to 404, 413, 415, 429, 500, 503) is added by the app.
 * What every route gets: `callerOf(request)`; a body and a query that are valid by their schemas (unknown fields and
 * query keys are refused); thrown `ProductError`s become problems (problem.ts). An unknown id is
 * `throw new ProductError('not_found')`, for ids of other tenants as well.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
// Of the provider only its type: its code loads a second compiler of schemas, and we compile with Ajv.
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { Caller, FieldFault, Scope } from '@valija/core'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify'
import { type Static, type TInteger, type TObject, type TSchema, Type } from 'typebox'
import type { ApiDependencies } from './dependencies.ts'

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** Registers one endpoint. */
export type RoutePlugin = (app: App, dependencies: ApiDependencies) => void

/** A schema that stands in the OpenAPI document under its own name. Made by `named`. */
export type NamedSchema = TSchema & { $id: string }

export interface RouteGroup {
  /** The heading of these routes in the reference page. */
  tag: { name: string; description: string }
  /** The named schemas that these routes use through `ref`. */
  schemas: readonly NamedSchema[]
  routes: readonly RoutePlugin[]
}

/**
 * What a caller must be allowed to do (`requireAccess` of @valija/flows). `operator`: the request bears VALIJA_ADMIN_KEY,
 * and `callerOf(request).tenantId` is `noTenant` unless it names one. `null`: anybody, and there is no caller.
 */
export type RouteScope = Scope | 'operator' | null

declare module 'fastify' {
  interface FastifyContextConfig {
    scope?: RouteScope
    /** The operator may act for no tenant here: what is made is then his own, for all tenants. */
    mayLackTenant?: boolean
    /**
     * What is wrong with a body by rules that its schema cannot say; asked when its shape is refused, to be named as well.
     *
     * @param faults of its shape
     * @param isOfShape whether another body meets the schema; null where not all faults were searched for
     */
    findFurtherFaults?: (
      body: unknown,
      faults: readonly FieldFault[],
      isOfShape: ((body: unknown) => boolean) | null,
    ) => FieldFault[]
  }
  interface FastifyRequest {
    /** Set by the hook that authenticates; use `callerOf`. */
    caller: Caller | null
    /** The body's octets as they came (json-body.ts); null without one, and when it was taken (`takeBody`). */
    bodyBytes: Buffer | null
  }
}

/** Who makes this request. Not for routes whose scope is null. */
export function callerOf(request: Pick<FastifyRequest, 'caller'>): Caller {
  if (request.caller === null) throw new TypeError('a route whose scope is null has no caller')
  return request.caller
}

/**
 * A request's body, for whoever needs it no more when its answer is waited for: the request has it no longer, nor its octets. What every request under
 * way holds is moved about by the garbage collector (packages/flows/src/send-message.ts).
 */
export function takeBody<T>(request: { body: T; bodyBytes: Buffer | null }): T {
  const { body } = request
  request.body = undefined as never
  request.bodyBytes = null
  return body
}

/** Gives a schema the name under which `ref` and the OpenAPI document know it. */
export function named<T extends TSchema>(name: string, schema: T): T & { $id: string } {
  return { ...schema, $id: name }
}

/** A reference to a named schema, with its type. */
export function ref<T extends NamedSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/** The schema's type, or null. For schemas with a single `type`. */
export function nullable<T extends TSchema & { type: string }>(schema: T) {
  return Type.Unsafe<Static<T> | null>({ ...schema, type: [schema.type, 'null'] })
}

/** An object that has these fields and no others. */
export function strictObject<T extends Record<string, TSchema>>(
  fields: T,
  options: Record<string, unknown> = {},
): TObject<T> {
  return Type.Object(fields, { ...options, additionalProperties: false })
}

/** The path parameter `:id`. Any text passes: what is no id of ours is a 404, not a 400. */
export const idParams = strictObject({ id: Type.String({ description: 'The id, with its prefix.' }) })

/** The query keys `limit` and `cursor` of every list, to be spread into `strictObject`. */
export const pageQuery = {
  // Optional to whoever asks, and always there for the handler: the validator fills in the default.
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100, default: 25, description: 'How many entries to answer.' }),
  ) as unknown as TInteger,
  cursor: Type.Optional(
    Type.String({ maxLength: 512, description: 'The `next_cursor` of the page before; opaque.' }),
  ),
}

/** What a list answers: `{data, next_cursor}`, null at the end. */
export function page<T extends TSchema>(item: T) {
  return Type.Object({
    data: Type.Array(item),
    next_cursor: nullable(
      Type.String({ description: 'Ask again with it for the next page; null at the end.' }),
    ),
  })
}

/** A body for POSTs that take none: absent, empty or `{}`. */
export const noBody = nullable(strictObject({}))

/** A time as every answer shows it. */
export const time = (description: string) =>
  Type.String({ format: 'date-time', description, examples: ['2026-11-23T14:05:09.123Z'] })

const refusals = {
  400: 'The request is not valid.',
  401: 'No valid API key.',
  403: 'The key may not do this.',
  404: 'There is no such thing, or it is not yours.',
  409: 'It conflicts with the present state.',
  413: 'The body is too large.',
  415: 'The body is of another type than the route takes.',
  429: 'Too many requests; see Retry-After.',
  500: 'Something went wrong in Valija.',
  503: 'Not now; see Retry-After.',
} as const

/** The responses of a route that refuses with these statuses, for its `schema.response`. */
export function problems(...statuses: (keyof typeof refusals)[]) {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: refusals[status],
        content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
      },
    ]),
  )
}
