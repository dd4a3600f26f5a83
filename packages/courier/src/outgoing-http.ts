/**
 * The one way out for HTTP: webhooks, policies of mail domains, and whatever else goes to an address that somebody else wrote.
 *
 * Private addresses, and this machine's own, are refused when the connection is made, for names (after their lookup) and for literals in any spelling; no
 * redirect is followed; the whole exchange has one deadline. Of the answer to a POST at most 64 KB are read and the first KB is
 * kept; a GET says how much it takes.
 */
import type { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import type { Agent, buildConnector, Dispatcher } from 'undici'
import {
  AddressRefused,
  createNetworkGuard,
  guardLookup,
  localAddresses,
  type NetworkGuard,
} from './network-guard.ts'
import { isWantOfSockets, noSocketText } from './no-socket.ts'

export type HttpResult =
  | {
      kind: 'answer'
      statusCode: number
      /** From Retry-After, seconds or date (RFC 9110 §10.2.3); null when absent or nonsense. Not negative, not capped. */
      retryAfterMs: number | null
      /** The beginning of the body as text, at most 1,024 octets. */
      bodyStart: string
      durationMs: number
    }
  | HttpNoAnswer

export interface HttpNoAnswer {
  kind: 'failure'
  code: HttpFailure
  message: string
  durationMs: number
}

export type HttpDocument =
  | {
      kind: 'answer'
      statusCode: number
      contentType: string | null
      body: Buffer
      /** There is more of it than was asked for. */
      isCut: boolean
      durationMs: number
    }
  | HttpNoAnswer

export type HttpFailure =
  /** Not http(s), or with credentials in it. */
  | 'bad_url'
  /** Private, reserved or this machine's own, and not among the allowed networks. */
  | 'address_refused'
  | 'name_unknown'
  /** This process could open no socket: the receiver was not asked. */
  | 'no_socket'
  | 'connection_failed'
  | 'tls'
  | 'timeout'
  /** What came is not HTTP, or more header than we take. */
  | 'protocol'

export interface OutgoingHttp {
  /**
   * @param url absolute, http or https, as the receiver's owner wrote it
   * @param request.timeoutMs for everything, from the lookup to the end of the answer
   */
  post(
    url: string,
    request: { headers: Record<string, string>; body: string | Buffer; timeoutMs: number },
  ): Promise<HttpResult>
  /**
   * @param url as above
   * @param request.maxBodyBytes so much is read; a body that breaks off earlier is a failure
   */
  get(
    url: string,
    request: { headers: Record<string, string>; maxBodyBytes: number; timeoutMs: number },
  ): Promise<HttpDocument>
  close(): Promise<void>
}

/** A receiver's answer is its status; what it says besides is for a person who looks at the attempt. */
const maxBodyBytes = 64 * 1024
const bodyStartBytes = 1024
const maxHeaderBytes = 16 * 1024

/**
 * Callers bound what they post at once; here only a bound against a fault of theirs. Lower, two endpoints on one host would
 * wait for each other.
 */
const connectionsPerOrigin = 256
/** undici refuses an origin beyond this while all of them are in use. */
const maxOrigins = 10_000

/**
 * @param options.allowNetworks CIDRs that are let through although private
 * @param options.ownAddresses instead of this machine's
 * @param options.lookup instead of the system's
 * @param options.ca an authority (PEM) that is trusted besides the usual ones
 */
export function createOutgoingHttp(options: {
  allowNetworks: readonly string[]
  ownAddresses?: () => readonly string[]
  lookup?: typeof systemLookup | LookupFunction
  ca?: string
}): OutgoingHttp {
  const guard = createNetworkGuard(options.allowNetworks, options.ownAddresses ?? localAddresses)
  let isClosed = false
  let opened: Promise<Agent> | null = null
  const openAgent = async () => {
    if (isClosed) throw new Error('this process is stopping')
    opened ??= createAgent(guard, guardLookup(guard, options.lookup), options.ca).catch((error: unknown) => {
      opened = null
      throw error
    })
    return await opened
  }
  /** Runs one exchange; whatever goes wrong with it is told, never thrown. */
  const ask = async <T>(
    url: string,
    exchange: (target: URL) => Promise<T>,
  ): Promise<(T & { kind: 'answer'; durationMs: number }) | HttpNoAnswer> => {
    const startedAt = performance.now()
    const elapsed = () => Math.round(performance.now() - startedAt)
    const target = readUrl(url)
    if (typeof target === 'string') {
      return { kind: 'failure', code: 'bad_url', message: target, durationMs: elapsed() }
    }
    try {
      return { kind: 'answer', ...(await exchange(target)), durationMs: elapsed() }
    } catch (error) {
      return { kind: 'failure', ...describe(error), durationMs: elapsed() }
    }
  }
  return {
    post: (url, request) => ask(url, async (target) => post(await openAgent(), target, request)),
    get: (url, request) => ask(url, async (target) => get(await openAgent(), target, request)),
    close: async () => {
      isClosed = true
      await (await opened)?.destroy()
    },
  }
}

/** Loads undici, for the first exchange: it takes 0.1 s, and many a process never asks anybody. */
async function createAgent(guard: NetworkGuard, lookup: LookupFunction, ca?: string): Promise<Agent> {
  const undici = await import('undici')
  const authorities = ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }
  const connect = undici.buildConnector({ lookup, timeout: 0, allowH2: false, ...authorities })
  return new undici.Agent({
    connect: guardedConnector(guard, connect),
    connections: connectionsPerOrigin,
    maxOrigins,
    // One request at a time on a connection, and HTTP/1.1: a receiver's trouble stays with the request that met it.
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: maxHeaderBytes,
    keepAliveTimeout: 10_000,
    keepAliveMaxTimeout: 30_000,
    // The request's own deadline ends everything.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

/** @returns a sentence when it is not a URL to call */
function readUrl(url: string): URL | string {
  const parsed = URL.parse(url)
  if (parsed === null) return 'not a URL'
  if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:')
    return 'only http and https URLs are called'
  if (parsed.username !== '' || parsed.password !== '')
    return 'a URL with a user name or password is not called'
  return parsed
}

/** The connector never looks a literal up, so it is judged here; names are judged in the lookup. */
function guardedConnector(guard: NetworkGuard, connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0 && !guard.isAllowed(host)) return callback(new AddressRefused(host), null)
    connect(options, callback)
  }
}

async function post(
  agent: Agent,
  url: URL,
  request: { headers: Record<string, string>; body: string | Buffer; timeoutMs: number },
): Promise<{ statusCode: number; retryAfterMs: number | null; bodyStart: string }> {
  const response = await agent.request({
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method: 'POST',
    headers: request.headers,
    body: request.body,
    signal: AbortSignal.timeout(request.timeoutMs),
  })
  return {
    statusCode: response.statusCode,
    retryAfterMs: readRetryAfter(response.headers['retry-after']),
    bodyStart: await readStart(response.body),
  }
}

async function get(
  agent: Agent,
  url: URL,
  request: { headers: Record<string, string>; maxBodyBytes: number; timeoutMs: number },
): Promise<{ statusCode: number; contentType: string | null; body: Buffer; isCut: boolean }> {
  const response = await agent.request({
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method: 'GET',
    headers: request.headers,
    signal: AbortSignal.timeout(request.timeoutMs),
  })
  const type = response.headers['content-type']
  const chunks: Buffer[] = []
  let readBytes = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    readBytes += chunk.length
    if (readBytes > request.maxBodyBytes) break
  }
  return {
    statusCode: response.statusCode,
    contentType: typeof type === 'string' ? type : null,
    body: Buffer.concat(chunks).subarray(0, request.maxBodyBytes),
    isCut: readBytes > request.maxBodyBytes,
  }
}

/** Reads on to the end, so that the connection can be used again, unless that is too far. The status is known: no error counts. */
async function readStart(body: Dispatcher.ResponseData['body']): Promise<string> {
  const kept: Buffer[] = []
  let readBytes = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (readBytes < bodyStartBytes) kept.push(chunk)
      readBytes += chunk.length
      if (readBytes > maxBodyBytes) break
    }
  } catch {
    // Cut off or too slow: what has come is what there is.
  }
  return Buffer.concat(kept).subarray(0, bodyStartBytes).toString('utf8').replaceAll('\0', '\uFFFD')
}

function readRetryAfter(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  // Date.parse takes nearly anything for a date; HTTP's begin with the day of the week.
  const at = /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now())
}

const failureByCode: Record<string, HttpFailure> = {
  EADDRESSREFUSED: 'address_refused',
  ENOTFOUND: 'name_unknown',
  EAI_AGAIN: 'name_unknown',
  UND_ERR_ABORTED: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  UND_ERR_HEADERS_OVERFLOW: 'protocol',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'protocol',
  UND_ERR_INVALID_ARG: 'bad_url',
}

function describe(error: unknown): { code: HttpFailure; message: string } {
  const { name, code = '', message } = error as NodeJS.ErrnoException
  if (isWantOfSockets(error as NodeJS.ErrnoException)) {
    return { code: 'no_socket', message: noSocketText(message || code, 'process') }
  }
  if (name === 'TimeoutError') return { code: 'timeout', message: 'no answer before the deadline' }
  if (name === 'HTTPParserError' || code.startsWith('HPE_')) return { code: 'protocol', message }
  if (/^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/.test(code))
    return { code: 'tls', message }
  return { code: failureByCode[code] ?? 'connection_failed', message: message || code }
}
