/**
 * Reads a request's body: its octets, within the route's limit and the process's budget, and the JSON in them.
 *
 * Stricter than JSON.parse, because a body that two programs read differently is how checks are got round: UTF-8 only, no
 * Content-Encoding (so there are no decompression bombs), no `__proto__`, and no U+0000 or lone surrogates, which
 * PostgreSQL cannot store. The octets are kept: an idempotency key stands for exactly them.
 */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { invalidRequest, ProductError } from '@valija/core'
import type { FastifyRequest } from 'fastify'
import type { ByteBudget, ByteHolder } from './byte-budget.ts'
import type { App } from './route.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** How much of the process's byte budget this request holds. */
    heldBytes: ByteHolder | null
  }
}

/** Makes JSON the only kind of body that the app takes. */
export function registerJsonBody(app: App, budget: ByteBudget): void {
  app.decorateRequest('bodyBytes', null)
  app.decorateRequest('heldBytes', null)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    checkEncoding(request)
    const bytes = await readBytes(request, payload, budget)
    request.bodyBytes = bytes
    return bytes.length === 0 ? undefined : parseJson(bytes)
  })
  // Both: an answer that nobody waits for any more never becomes a response.
  const release = ({ heldBytes }: FastifyRequest) => {
    if (heldBytes) budget.giveBack(heldBytes)
  }
  app.addHook('onResponse', (request, _reply, done) => {
    release(request)
    done()
  })
  app.addHook('onRequestAbort', (request, done) => {
    release(request)
    done()
  })
}

/** @throws {ProductError} unsupported_media_type for what is packed, or no UTF-8 */
export function checkEncoding(request: FastifyRequest): void {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    throw new ProductError('unsupported_media_type', {
      detail: `The Content-Encoding ${encoding} is not taken.`,
    })
  }
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(request.headers['content-type'] ?? '')?.[1]
  if (charset !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(charset)) {
    throw new ProductError('unsupported_media_type', { detail: `The charset ${charset} is not taken.` })
  }
}

/** Resolves with the whole body; rejects as soon as it is too long, has no room, or ends too early. */
function readBytes(request: FastifyRequest, payload: IncomingMessage, budget: ByteBudget): Promise<Buffer> {
  const limit = request.routeOptions.bodyLimit ?? 0
  const holder: ByteHolder = { bytes: 0 }
  request.heldBytes = holder
  const take = (upTo: number) => {
    if (upTo > limit)
      return new ProductError('message_too_large', { detail: `The body is longer than ${limit} octets.` })
    if (upTo <= holder.bytes || budget.take(holder, upTo - holder.bytes)) return null
    return new ProductError('overloaded', {
      detail: 'Too many octets of requests are under way.',
      retryAfterS: 1,
    })
  }
  // Node's HTTP parser lets nothing but digits through.
  const refusal = take(Number(request.headers['content-length'] ?? 0))
  if (refusal) return Promise.reject(refusal)
  const chunks: Buffer[] = []
  let received = 0
  return new Promise((resolve, reject) => {
    const settle = (error: ProductError | null) => {
      payload.off('data', onData).off('end', onEnd).off('close', onClose)
      if (error) reject(error)
      else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, received))
    }
    const onData = (chunk: Buffer) => {
      received += chunk.length
      const tooMuch = take(received)
      if (tooMuch) settle(tooMuch)
      else chunks.push(chunk)
    }
    const onEnd = () => settle(null)
    const onClose = () => settle(new ProductError('invalid_request', { detail: 'The body ended too early.' }))
    payload.on('data', onData).on('end', onEnd).on('close', onClose)
    // Whatever breaks the connection closes it as well; without a listener it would end the process.
    payload.on('error', () => undefined)
  })
}

/** U+0000, a letter of `__proto__` in disguise, half of a surrogate pair (or a whole one). */
const forbiddenEscape = /\\u(?:0000|005f|006f|007[024]|d[89a-f])/i

/** @throws {ProductError} invalid_request */
export function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw refuse('The body is not UTF-8.')
  const text = bytes.toString()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw refuse(`The body is not JSON: ${(error as Error).message}.`)
  }
  // Rare: everything forbidden has one of these in the text.
  if (text.includes('__proto__') || (text.includes('\\u') && forbiddenEscape.test(text))) checkStrings(value)
  return value
}

/** Walks without recursion: a body can be nested deeper than the stack. */
function checkStrings(root: unknown): void {
  const waiting: { path: string; value: unknown }[] = [{ path: '', value: root }]
  for (let entry = waiting.pop(); entry; entry = waiting.pop()) {
    const { path, value } = entry
    if (typeof value === 'string') checkString(path, value)
    else if (typeof value === 'object' && value !== null) {
      for (const [key, child] of Object.entries(value)) {
        if (key === '__proto__')
          throw invalidRequest([{ path: `${path}/__proto__`, message: 'Is not allowed as a name.' }])
        checkString(path, key)
        // Where a fault lies deeper than anything of ours, its exact place does not matter.
        const childPath =
          path.length > 256 ? path : `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
        waiting.push({ path: childPath, value: child })
      }
    }
  }
}

function checkString(path: string, text: string): void {
  if (text.includes('\0')) throw invalidRequest([{ path, message: 'Holds U+0000. Leave it out.' }])
  if (!text.isWellFormed()) {
    throw invalidRequest([{ path, message: 'Holds half of a surrogate pair. Send whole characters.' }])
  }
}

function refuse(message: string): ProductError {
  return invalidRequest([{ path: '', message }])
}
