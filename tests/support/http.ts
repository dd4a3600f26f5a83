/** A small HTTP client for tests: one call, everything in the answer, no exceptions for 4xx and 5xx. */

export type Answer<T = unknown> = {
  status: number
  headers: Headers
  text: string
  /** The parsed body; undefined when it is not JSON. */
  json: T
}

/** How long a test waits for any answer. */
const TIMEOUT_MS = 30_000

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Calls to one base URL with one API key (null: none). A body that is neither a string nor bytes is sent as JSON.
 *
 *     const call = client('http://127.0.0.1:20001', key)
 *     const { status, json } = await call<{ id: string }>('POST', '/send', { from, to, text })
 */
export function client(base: string, key: string | null = null) {
  return async function call<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(new URL(path, base), {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined || isRaw ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: isRaw ? (body as string | Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: parsed(text) as T }
  }
}
