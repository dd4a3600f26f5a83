/**
 * One call of the API: tried again until it is answered, refused, or its deadline is over.
 *
 * What may be repeated is the caller's word: reads, and what carries an idempotency key. All else is repeated only after a 429, which
 * says that nothing was done. The bytes of all tries are the same, as idempotency keys demand.
 */
import { errorOfAnswer, ValijaError } from './error.ts'

export interface TransportOptions {
  /** Where the API is, such as `https://mail.acme.example`; it may have a path. */
  url: string | URL
  apiKey: string
  /** For whom the operator's key acts: `ten_…`. */
  tenant?: string
  /** How long one try may take until its answer is read; 30,000. */
  timeoutMs?: number
  /** How long a call may take with all its tries and the waits between; 120,000. No further try begins when less than 250 ms of it are left. */
  deadlineMs?: number
  /** How many tries at most, where somebody waits who wants to know soon; as many as the deadline allows. */
  maxTries?: number
  /** Instead of the platform's. */
  fetch?: typeof fetch
}

export interface CallOptions {
  /** Ends the call, which then throws the signal's reason. */
  signal?: AbortSignal
  timeoutMs?: number
  deadlineMs?: number
}

export interface Call {
  method: string
  /** With a slash in front, and its query. */
  path: string
  headers?: Record<string, string>
  body?: string
  isRepeatable: boolean
}

export interface Answer {
  status: number
  headers: Headers
  bytes: Uint8Array<ArrayBuffer>
}

/** The waits between tries: the first, and the longest. Each is drawn from its upper half, so that clients do not come in step. */
const firstWaitMs = 250
const longestWaitMs = 10_000
/** With less time left than a round trip may take, a further try would say `no_answer` in place of what the last one was told. */
const shortestTryMs = 250

export class Transport {
  readonly #options: Required<Omit<TransportOptions, 'tenant' | 'url'>>
  readonly #base: string
  readonly #headers: Record<string, string>

  /** @throws {TypeError} a url that is none of HTTP, a key or tenant that no header can hold */
  constructor(options: TransportOptions) {
    const {
      url,
      apiKey,
      tenant,
      timeoutMs = 30_000,
      deadlineMs = 120_000,
      maxTries = Number.POSITIVE_INFINITY,
      fetch = globalThis.fetch,
    } = options
    this.#base = baseOf(url)
    this.#headers = {
      authorization: `Bearer ${headerText('apiKey', apiKey)}`,
      ...(tenant && { 'valija-tenant': headerText('tenant', tenant) }),
    }
    // Bound: some platforms refuse a fetch that is called as a method of something else.
    this.#options = { apiKey, timeoutMs, deadlineMs, maxTries, fetch: (...args) => fetch(...args) }
  }

  /**
   * @throws {ValijaError} when it is refused, and when the last try before the deadline has failed
   * @throws the signal's reason
   */
  async call(call: Call, options: CallOptions = {}): Promise<Answer> {
    const endMs = performance.now() + (options.deadlineMs ?? this.#options.deadlineMs)
    for (let tries = 1; ; tries++) {
      try {
        return await this.#try(call, options, endMs - performance.now())
      } catch (error) {
        const waitMs = tries < this.#options.maxTries ? waitBefore(error, call, tries) : null
        const hasTime = (afterMs: number) => endMs - performance.now() - afterMs >= shortestTryMs
        if (waitMs === null || !hasTime(waitMs)) throw error
        await wait(waitMs, options.signal)
        // Asked again: the wait may have taken longer, as where the machine slept meanwhile.
        if (!hasTime(0)) throw error
      }
    }
  }

  async #try(call: Call, { signal, timeoutMs }: CallOptions, leftMs: number): Promise<Answer> {
    signal?.throwIfAborted()
    const limitMs = Math.max(1, Math.ceil(Math.min(timeoutMs ?? this.#options.timeoutMs, leftMs)))
    const limit = AbortSignal.timeout(limitMs)
    const { method, path, headers, body } = call
    const {
      status,
      headers: answered,
      bytes,
    } = await this.#exchange(`${this.#base}${path}`, {
      method,
      headers: {
        ...this.#headers,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body }),
      redirect: 'manual',
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    }).catch((cause: unknown) => {
      if (signal?.aborted) throw signal.reason
      const what = limit.aborted
        ? `did not answer within ${limitMs} ms`
        : `cannot be reached (${reasonOf(cause)})`
      throw new ValijaError(
        {
          code: 'no_answer',
          message: `The API at ${this.#base} ${what}.`,
          fix: 'Check the url, and whether the API runs: GET /readyz.',
        },
        { cause },
      )
    })
    if (status >= 200 && status < 300) return { status, headers: answered, bytes }
    throw errorOfAnswer(status, answered, new TextDecoder().decode(bytes))
  }

  async #exchange(url: string, init: RequestInit): Promise<Answer> {
    const { fetch } = this.#options
    const response = await fetch(url, init)
    return {
      status: response.status,
      headers: response.headers,
      bytes: new Uint8Array(await response.arrayBuffer()),
    }
  }
}

/** Without the slash at its end. A host without a scheme is read as a scheme by URL: `localhost:3000`. */
function baseOf(url: string | URL): string {
  const base = URL.canParse(url) ? new URL(url) : null
  if (base !== null && /^https?:$/.test(base.protocol)) return base.href.replace(/\/$/, '')
  throw new TypeError(
    `url ${url ? 'must begin with http:// or https://' : 'is missing'}: where the API is, such as https://mail.acme.example.`,
  )
}

/**
 * What a header can hold (RFC 9110 section 5.5), without the white space around it: a file ends with some. It is judged here since fetch
 * would quote a key with a line break in the message of each try.
 */
function headerText(name: string, value: string): string {
  const text = value.trim()
  if (text !== '' && !/[^\t\x20-\x7e\x80-\xff]/.test(text)) return text
  throw new TypeError(`${name} must be text that a header can hold, such as ASCII in one line.`)
}

/** How long to wait before the next try; null: there is none. */
function waitBefore(error: unknown, { isRepeatable }: Call, tries: number): number | null {
  if (!(error instanceof ValijaError) || !error.isRetryable) return null
  if (!isRepeatable && error.status !== 429) return null
  return Math.max(error.retryAfterMs ?? 0, backoffMs(tries))
}

/** @param tries that have failed, from 1 */
export function backoffMs(tries: number): number {
  const fullMs = Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(tries - 1, 16))
  return fullMs * (0.5 + Math.random() / 2)
}

/** @throws the signal's reason, at once */
export function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Node's fetch hides what happened behind "fetch failed". */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  if (!(cause instanceof Error)) return error.message
  return cause.message !== '' ? cause.message : ((cause as { code?: string }).code ?? error.message)
}
