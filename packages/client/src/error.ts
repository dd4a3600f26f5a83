/** What a call throws: the API's problem (RFC 9457), or that no answer of the API came. */
import type { Problem } from './generated/api.ts'

/** Codes that the API does not know. */
export type ClientErrorCode =
  /** The connection failed or no answer came in time: the request may have been carried out. */
  | 'no_answer'
  /** Something answered that is no Valija, such as a proxy. */
  | 'unknown_answer'

export class ValijaError extends Error {
  override name = 'ValijaError'
  /** Stable, to decide by: one of docs/errors.md, or a `ClientErrorCode`. */
  readonly code: ClientErrorCode | (string & {})
  /** The HTTP status; null when no answer came. */
  readonly status: number | null
  /** What can be done about it. */
  readonly fix: string
  /** What is wrong with the input: each path is a JSON pointer into the body, or names a query key or header. */
  readonly errors: readonly { path: string; message: string }[]
  /** By which the operator finds the request in the log. */
  readonly requestId: string | null
  /** How long the API asks to wait before the next try. */
  readonly retryAfterMs: number | null

  constructor(
    given: {
      code: string
      message: string
      status?: number
      fix?: string
      errors?: readonly { path: string; message: string }[]
      requestId?: string
      retryAfterMs?: number | null
    },
    options?: ErrorOptions,
  ) {
    super(given.message, options)
    this.code = given.code
    this.status = given.status ?? null
    this.fix = given.fix ?? ''
    this.errors = given.errors ?? []
    this.requestId = given.requestId ?? null
    this.retryAfterMs = given.retryAfterMs ?? null
  }

  /** Whether the same call can succeed later without being changed. */
  get isRetryable(): boolean {
    const { status, code } = this
    return status === null || status === 429 || status >= 500 || code === 'idempotency_in_progress'
  }
}

/** The problem that an answer holds, or that it holds none. */
export function errorOfAnswer(status: number, headers: Headers, text: string): ValijaError {
  const retryAfterMs = readRetryAfter(headers.get('retry-after'))
  const problem = readProblem(text)
  if (problem === null) {
    return new ValijaError({
      code: 'unknown_answer',
      message: `The answer ${status} is none of Valija's.`,
      status,
      fix: 'Check the url, and what stands between you and the API.',
      retryAfterMs,
    })
  }
  return errorOfProblem({ ...problem, status }, retryAfterMs)
}

/** A problem as an error, such as one of a permissive batch. */
export function errorOfProblem(problem: Problem, retryAfterMs: number | null = null): ValijaError {
  const { code, status, detail, title, fix, errors, request_id } = problem
  return new ValijaError({
    ...{ code, status, fix, retryAfterMs, requestId: request_id },
    message: detail ?? title,
    ...(errors && { errors }),
  })
}

function readProblem(text: string): Problem | null {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null
    const isProblem = typeof problem?.code === 'string' && typeof problem.title === 'string'
    return isProblem ? (problem as Problem) : null
  } catch {
    return null
  }
}

/** RFC 9110 section 10.2.3: seconds, or a date. */
function readRetryAfter(value: string | null): number | null {
  if (value === null) return null
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
