/**
 * The error catalogue: everything that Valija refuses or fails at in front of a client, for HTTP and SMTP alike.
 *
 * Only what stands here, plus the `detail` and `errors` that the thrower wrote for the client, can reach a response; a
 * `cause` stays in the log. docs/errors.md is generated from this file.
 */

export interface CatalogueEntry {
  /** HTTP status. */
  status: number
  /** SMTP reply with its enhanced code (RFC 3463), for the submission listener. */
  smtp: string
  title: string
  /** One sentence: what the client can do about it. */
  fix: string
  /** Whether the same request can succeed later without being changed. */
  isRetryable: boolean
}

export const errorCatalogue = {
  invalid_request: {
    status: 400,
    smtp: '550 5.6.0',
    title: 'The request is not valid',
    fix: 'Correct the fields listed in errors; each path is a JSON pointer into the body or names the query key or header.',
    isRetryable: false,
  },
  invalid_key: {
    status: 401,
    smtp: '535 5.7.8',
    title: 'No valid API key',
    fix: 'Send "Authorization: Bearer vlj_…" with a key that exists, is not revoked and has not expired.',
    isRetryable: false,
  },
  insufficient_scope: {
    status: 403,
    smtp: '550 5.7.1',
    title: 'The key lacks a scope',
    fix: 'Use a key that may do what detail says. A missing scope: have a key with it made by POST /keys; what only the operator may do takes VALIJA_ADMIN_KEY.',
    isRetryable: false,
  },
  key_restricted: {
    status: 403,
    smtp: '550 5.7.1',
    title: 'The key is not allowed to do this',
    fix: 'The key is bound to domains, networks, a route or recipients; use another key or widen this one.',
    isRetryable: false,
  },
  tenant_suspended: {
    status: 403,
    smtp: '450 4.7.1',
    title: 'The tenant is suspended',
    fix: 'Ask the operator of this installation to lift the suspension.',
    isRetryable: true,
  },
  domain_not_verified: {
    status: 403,
    smtp: '550 5.7.1',
    title: 'The sender domain may not be used',
    fix: 'Send from a domain of GET /domains that is verified. To verify one: POST /domains, publish the records it shows, POST /domains/:id/verify; or have the operator vouch for it ("vouched": true).',
    isRetryable: false,
  },
  not_found: {
    status: 404,
    smtp: '550 5.1.1',
    title: 'There is no such thing',
    fix: 'Check the path and the id; ids of other tenants look like unknown ones.',
    isRetryable: false,
  },
  method_not_allowed: {
    status: 405,
    smtp: '502 5.5.1',
    title: 'The path has no such method',
    fix: 'Use one of the methods in Allow; the reference at /docs shows what each does.',
    isRetryable: false,
  },
  conflict: {
    status: 409,
    smtp: '550 5.5.0',
    title: 'What is there is in the way',
    fix: 'Read the present state and decide anew; detail names what is in the way.',
    isRetryable: false,
  },
  idempotency_key_reused: {
    status: 409,
    smtp: '550 5.5.0',
    title: 'The idempotency key was used for another request',
    fix: 'Use a new Idempotency-Key for a new request; repeat a request only with exactly the same bytes.',
    isRetryable: false,
  },
  idempotency_in_progress: {
    status: 409,
    smtp: '450 4.5.0',
    title: 'A request with this idempotency key is still being worked on',
    fix: 'Repeat the request after a second; it then gets the stored answer.',
    isRetryable: true,
  },
  already_sending: {
    status: 409,
    smtp: '450 4.5.0',
    title: 'No recipient of the message can be stopped or moved any more',
    fix: 'errors says of each recipient why. One that is being sent this moment may be deferred after it: then the same request can succeed; one that has its end keeps it.',
    isRetryable: true,
  },
  message_too_large: {
    status: 413,
    smtp: '552 5.3.4',
    title: 'The message is too large',
    fix: 'Send less: the limit is in detail and counts text, html and 4/3 of the attachments, or the raw message.',
    isRetryable: false,
  },
  unsupported_media_type: {
    status: 415,
    smtp: '550 5.6.1',
    title: 'The body is of another type than the route takes',
    fix: 'Send "Content-Type: application/json", or where the route takes a file the type that detail names; UTF-8, without Content-Encoding.',
    isRetryable: false,
  },
  rate_limited: {
    status: 429,
    smtp: '450 4.7.0',
    title: 'Too many requests',
    fix: 'Wait for the seconds in Retry-After; detail and limit name the limit, its value, and whose it is.',
    isRetryable: true,
  },
  quota_exceeded: {
    status: 429,
    smtp: '452 4.7.0',
    title: 'The quota of the day or month is used up',
    fix: 'Come back when its period is over (Retry-After), or have the limit raised: detail and limit name it, its value, and whose it is.',
    isRetryable: true,
  },
  queue_full: {
    status: 429,
    smtp: '452 4.3.2',
    title: 'Too much of this tenant waits to be sent',
    fix: 'Wait for the seconds in Retry-After: they are estimated from how fast the queue shrinks. detail names the limit, its value, and where the operator can raise it.',
    isRetryable: true,
  },
  internal: {
    status: 500,
    smtp: '451 4.3.0',
    title: 'Something went wrong in Valija',
    fix: 'Repeat the request with the same Idempotency-Key; if it fails again, give the request_id to the operator.',
    isRetryable: true,
  },
  overloaded: {
    status: 503,
    smtp: '451 4.3.2',
    title: 'Too much is under way',
    fix: 'Repeat the request after the seconds in Retry-After; nothing of it was kept.',
    isRetryable: true,
  },
  database_unavailable: {
    status: 503,
    smtp: '451 4.3.0',
    title: 'The database cannot be reached',
    fix: 'Repeat the request with the same Idempotency-Key after the seconds in Retry-After.',
    isRetryable: true,
  },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

/** A fault of one field: `path` is a JSON pointer (RFC 6901) into the body, or the name of a query key or header. */
export interface FieldFault {
  path: string
  message: string
}

export interface ProductErrorDetails {
  /** What happened, where the code stands for several things. */
  title?: string
  /** What exactly is wrong, for the client to read. */
  detail?: string
  errors?: FieldFault[]
  /** What the client can do about it this time, where it is something else than usual. */
  fix?: string
  /** Whole seconds after which a repetition makes sense. */
  retryAfterS?: number
  /** The limit that is in the way. */
  limit?: RefusingLimit
  /** Internal; never leaves the process. */
  cause?: unknown
}

/** A limit that is set for a tenant or a key, as a refusal shows it. */
export interface RefusingLimit {
  of: 'tenant' | 'key'
  name: string
  value: number
  /** What is left of it; absent where nothing is used up. */
  left?: number
  /** RFC 3339; absent where waiting does not help. */
  resets_at?: string
}

/** What flows throw when a request cannot be served; the apps turn it into a problem (RFC 9457) or an SMTP reply. */
export class ProductError extends Error {
  readonly code: ErrorCode
  readonly title: string | undefined
  readonly detail: string | undefined
  readonly errors: FieldFault[] | undefined
  readonly fix: string | undefined
  readonly retryAfterS: number | undefined
  readonly limit: RefusingLimit | undefined

  constructor(code: ErrorCode, details: ProductErrorDetails = {}) {
    super(`${code}: ${details.detail ?? errorCatalogue[code].title}`, { cause: details.cause })
    this.name = 'ProductError'
    this.code = code
    this.title = details.title
    this.detail = details.detail
    this.errors = details.errors
    this.fix = details.fix
    this.retryAfterS = details.retryAfterS
    this.limit = details.limit
  }
}

/** The error for a faulty request. */
export function invalidRequest(errors: FieldFault[]): ProductError {
  const first = errors[0]
  const rest = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return new ProductError('invalid_request', {
    errors,
    ...(first && { detail: `${first.path || 'request'}: ${first.message}${rest}` }),
  })
}

/** What can be in the way, as the title of the problem says it. */
export const conflictTitles = {
  exists: 'There is one already',
  full: 'There are as many as there may be',
  used: 'It is still used',
  changed: 'It has changed meanwhile',
  elsewhere: 'Another tenant has it',
  underWay: 'It is under way already',
  gone: 'Its content is not kept any more',
  fixed: 'It cannot be removed',
} as const

/** The error where what is there does not allow what was asked for. */
export function conflict(what: keyof typeof conflictTitles, details: ProductErrorDetails): ProductError {
  return new ProductError('conflict', { title: conflictTitles[what], ...details })
}
