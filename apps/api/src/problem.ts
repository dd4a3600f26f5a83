/**
 * Every refusal and every fault as a problem (RFC 9457), in one place: the handler of all errors, and of unknown paths.
 *
 * Only a ProductError's public parts reach a response (packages/core/src/errors.ts). Everything else is `internal` to
 * the client, and stands in the log under the request's id.
 */

import { conflict, type ErrorCode, errorCatalogue, invalidRequest, ProductError } from '@valija/core'
import { isMissingReference, isPassingDatabaseError } from '@valija/store'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { AllowedMethods } from './allowed-methods.ts'
import { sayWhatIsMissing } from './missing-things.ts'
import { discardRest } from './rest-of-body.ts'
import { named, strictObject, time } from './route.ts'
import { toFieldFaults, type ValidationContext } from './validation-faults.ts'
import { findBodyErrors } from './validators.ts'

export const Problem = named(
  'Problem',
  Type.Object(
    {
      type: Type.String({ description: 'Names the kind of problem, as code does.' }),
      title: Type.String({ description: 'What happened; of a `conflict` which kind of it.' }),
      status: Type.Integer(),
      detail: Type.Optional(Type.String({ description: 'What exactly is wrong this time.' })),
      code: Type.String({ description: 'Stable: programs decide by it.' }),
      fix: Type.String({ description: 'What can be done about it.' }),
      errors: Type.Optional(
        Type.Array(
          strictObject({
            path: Type.String({
              description: 'A JSON pointer into the body, or the name of a query key or header.',
            }),
            message: Type.String(),
          }),
        ),
      ),
      limit: Type.Optional(
        Type.Object(
          {
            of: Type.Enum(['tenant', 'key'], { description: 'Whose it is.' }),
            name: Type.String({ description: 'As in `limits` of tenants and keys.' }),
            value: Type.Integer(),
            left: Type.Optional(Type.Integer({ description: 'How much of it is left.' })),
            resets_at: Type.Optional(time('When its time is over and it begins anew.')),
          },
          { description: 'The limit that is in the way, where one of a tenant or key is.' },
        ),
      ),
      request_id: Type.String(),
    },
    {
      description: 'What went wrong, in the form of RFC 9457.',
      examples: [
        {
          type: 'urn:valija:error:invalid_request',
          title: errorCatalogue.invalid_request.title,
          status: 400,
          detail: '/to/0: is not an address',
          code: 'invalid_request',
          fix: errorCatalogue.invalid_request.fix,
          errors: [{ path: '/to/0', message: 'is not an address' }],
          request_id: 'req-1',
        },
      ],
    },
  ),
)

const mediaType = 'application/problem+json'

/** A request that Fastify refused by itself → the catalogue's word for it. */
const codesOfFastify: Record<string, { code: ErrorCode; detail: string }> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    detail: 'The Content-Type is not application/json.',
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'invalid_request',
    detail: 'The body is not as long as Content-Length says.',
  },
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'message_too_large',
    detail: 'The body is longer than this route takes.',
  },
  FST_ERR_BAD_URL: {
    code: 'invalid_request',
    detail: 'The path holds a percent-encoding that is not UTF-8.',
  },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'not_found', detail: 'The path is too long to name anything.' },
}

/** The problem for an error, as it is sent. */
export function toProblem(error: ProductError, requestId: string): Record<string, unknown> {
  const entry = errorCatalogue[error.code]
  return {
    type: `urn:valija:error:${error.code}`,
    title: error.title ?? entry.title,
    status: entry.status,
    ...(error.detail !== undefined && { detail: error.detail }),
    code: error.code,
    fix: error.fix ?? entry.fix,
    ...(error.errors !== undefined && { errors: error.errors }),
    ...(error.limit !== undefined && { limit: error.limit }),
    request_id: requestId,
  }
}

/** For `app.setErrorHandler` and `frameworkErrors`. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const refusal = toProductError(error, request)
  const { status } = errorCatalogue[refusal.code]
  if (refusal.code === 'internal') request.log.error({ err: error }, 'request failed')
  else if (status >= 500)
    request.log.warn({ err: refusal.cause ?? refusal }, `request refused: ${refusal.code}`)
  if (refusal.retryAfterS !== undefined) reply.header('retry-after', String(refusal.retryAfterS))
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  if (!request.raw.complete) {
    // Fastify closes what its parser refused; a process that stops sets the header again.
    if (discardRest(request.raw)) reply.removeHeader('connection')
    else reply.header('connection', 'close')
  }
  reply
    .code(status)
    .type(mediaType)
    .send(JSON.stringify(toProblem(refusal, request.id)))
}

/** What other mail services have, and this API is to have: whoever looks for it learns that it is no slip of theirs. */
const notYet = /^\/compat(?:\/.*)?$/

/** For `app.setNotFoundHandler`. */
export function createNotFound(methods: AllowedMethods) {
  return (request: FastifyRequest, reply: FastifyReply): void => {
    const path = request.url.split('?', 1)[0] ?? ''
    const allowed = methods.of(path)
    if (allowed.length > 0) reply.header('allow', allowed.join(', '))
    const refusal =
      allowed.length > 0
        ? new ProductError('method_not_allowed', { detail: `${path} takes ${allowed.join(', ')}.` })
        : new ProductError('not_found', {
            detail: `There is no ${request.method} ${path}${notYet.test(path) ? ' in this version' : ''}.`,
          })
    sendError(refusal, request, reply)
  }
}

function toProductError(error: unknown, request: FastifyRequest): ProductError {
  if (error instanceof ProductError) return withRetryAfter(withWhatIsMissing(error, request))
  const { validation, validationContext, code } = error as Partial<FastifyError>
  if (validation) return refuseShape(validation, (validationContext ?? 'body') as ValidationContext, request)
  const known = code === undefined ? undefined : codesOfFastify[code]
  if (known) return new ProductError(known.code, { detail: known.detail })
  if (isDatabaseTrouble(error))
    return new ProductError('database_unavailable', { retryAfterS: 1, cause: error })
  if (isMissingReference(error)) return overtaken(error)
  return new ProductError('internal', { cause: error })
}

/** What a request refers to was deleted while it was under way. */
function overtaken(cause: unknown): ProductError {
  return conflict('changed', {
    detail: 'Something that this is about was deleted, or came into use, meanwhile.',
    fix: 'Repeat the request: it finds what is there now.',
    cause,
  })
}

function refuseShape(
  validation: NonNullable<FastifyError['validation']>,
  context: ValidationContext,
  request: FastifyRequest,
): ProductError {
  if (context !== 'body') return invalidRequest(toFieldFaults(validation, context))
  const { errors, isOfShape } = findBodyErrors(request, validation)
  const faults = toFieldFaults(errors, context)
  const named = new Set(faults.map(({ path }) => path))
  const further = request.routeOptions.config.findFurtherFaults?.(request.body, faults, isOfShape) ?? []
  return invalidRequest([...faults, ...further.filter(({ path }) => !named.has(path))])
}

/** Prisma's codes for: unreachable, timed out, closed, no connection free. */
const prismaTrouble = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024'])

function isDatabaseTrouble(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (isPassingDatabaseError(error) || prismaTrouble.has((error as { code?: string }).code ?? '')) return true
  return isDatabaseTrouble(error.cause)
}

/** A 404 always says what there is not. */
function withWhatIsMissing(error: ProductError, request: FastifyRequest): ProductError {
  if (error.code !== 'not_found' || error.detail !== undefined) return error
  const detail = sayWhatIsMissing(request.routeOptions.url)
  return detail === undefined ? error : new ProductError('not_found', { detail })
}

/** 429 and 503 always say when to come again. */
function withRetryAfter(error: ProductError): ProductError {
  const { status } = errorCatalogue[error.code]
  if ((status !== 429 && status !== 503) || error.retryAfterS !== undefined) return error
  return new ProductError(error.code, {
    ...(error.detail !== undefined && { detail: error.detail }),
    ...(error.errors !== undefined && { errors: error.errors }),
    ...(error.limit !== undefined && { limit: error.limit }),
    retryAfterS: 1,
    cause: error.cause,
  })
}
