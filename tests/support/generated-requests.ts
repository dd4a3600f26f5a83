/**
 * Requests made from the API's own description, of three kinds: valid ones, those with one thing wrong, and hostile ones. All from seeds: the same
 * seed, and the same ids of what is there, give the same request.
 */
import { Agent, request as httpRequest, type OutgoingHttpHeaders } from 'node:http'
import {
  type Hints,
  type Json,
  pick,
  type Random,
  type Schema,
  timeFrom,
  type ValueSource,
  valueFrom,
} from './schema-values.ts'
import { hostileBody, naughtyTexts, nearlyValid } from './spoiled-values.ts'

export const kinds = ['valid', 'nearly valid', 'hostile'] as const
export type RequestKind = (typeof kinds)[number]

interface Parameter {
  in: string
  name: string
  required?: boolean
  schema: Schema
}

export interface Operation {
  method: string
  path: string
  parameters: Parameter[]
  body: { type: string; schema: Schema } | null
  /** Documented statuses. */
  statuses: ReadonlySet<number>
}

export interface ApiDescription extends ValueSource {
  operations: Operation[]
}

export interface GeneratedRequest {
  operation: Operation
  method: string
  /** Path and query, as they stand on the request's line. */
  target: string
  headers: OutgoingHttpHeaders
  body: string | Buffer | null
}

interface OpenApi {
  paths: Record<string, Record<string, DescribedOperation>>
  components: { schemas: Record<string, Schema> }
}
interface DescribedOperation {
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, unknown>
}

export function describedBy({ paths, components }: OpenApi, hints: Hints): ApiDescription {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]): Operation => {
      const [body] = Object.entries(requestBody?.content ?? {})
      return {
        method: method.toUpperCase(),
        path,
        parameters,
        body: body === undefined ? null : { type: body[0], schema: body[1].schema },
        statuses: new Set(Object.keys(responses).map(Number)),
      }
    }),
  )
  return { operations, schemas: components.schemas, hints }
}

/** Texts that are fine where the name says so. Hosts are names nobody answers for, or of this machine. */
export function usualHints(sender: string): Hints {
  const address = (random: Random) =>
    `${pick(random, ['ann', 'bo.b', 'çem', 'x+y'])}${Math.floor(random() * 1e4)}@example.test`
  const person = (random: Random): Json =>
    random() < 0.5
      ? address(random)
      : random() < 0.5
        ? `Ann <${address(random)}>`
        : { email: address(random), name: 'Ann Müller' }
  const people = (random: Random): Json =>
    random() < 0.5 ? person(random) : [person(random), person(random)]
  const host = (random: Random) => `h${Math.floor(random() * 1e4)}.example.test`
  const label = (random: Random) => `n${Math.floor(random() * 1e6)}`
  return {
    from: () => `Acme <hello@${sender}>`,
    to: people,
    cc: people,
    bcc: people,
    reply_to: people,
    email: address,
    raw: (random) =>
      Buffer.from(`From: hello@${sender}\r\nSubject: ${random()}\r\n\r\nHello\r\n`).toString('base64'),
    headers: (random) => ({ 'X-Order': `${random()}`, 'List-Id': '<news.example.test>' }),
    content_type: (random) => pick(random, ['text/plain', 'application/pdf', 'image/png; name=a.png']),
    content_id: label,
    send_at: (random) => timeFrom(random, -60_000, 86_400_000),
    expires_at: (random) => (random() < 0.2 ? null : timeFrom(random, 60_000, 86_400_000)),
    ttl_seconds: (random) => 60 + Math.floor(random() * 604_740),
    host,
    ehlo_name: host,
    return_path_host: (random) => `bounce${Math.floor(random() * 9)}.example.test`,
    return_path_address: (random) => (random() < 0.3 ? null : `bounces@${host(random)}`),
    url: (random) => `https://${host(random)}/hook?a=${Math.floor(random() * 1e6)}`,
    mailto: (random) => `mailto:leave@${host(random)}`,
    events: (random) => pick(random, [['*'], ['message.delivered', 'message.bounced'], ['quota.reached']]),
    types: (random) => pick(random, [['message.delivered'], ['message.bounced', 'message.failed']]),
    type: () => 'message.delivered',
    domains: (random) => (random() < 0.5 ? [] : [sender]),
    domain: (random) => (random() < 0.5 ? sender : host(random)),
    networks: (random) => pick(random, [[], ['127.0.0.0/8'], ['::1/128', '10.0.0.0/8']]),
    recipients: (random) => (random() < 0.5 ? [] : [address(random)]),
    route: () => 'capture',
    address: (random) => `203.0.113.${1 + Math.floor(random() * 254)}`,
    bind: () => null,
    ipv6: () => null,
    wait: () => '0s',
    after: (random) => timeFrom(random, -86_400_000, 0),
    before: (random) => timeFrom(random, -60_000, 60_000),
    day: (random) => timeFrom(random, -5 * 86_400_000, 0).slice(0, 10),
    name: (random) => `${label(random)}.example.test`,
    selector: label,
  }
}

/** Ids of what is there, by the first step of the path; grows with what is made. */
export type KnownIds = Map<string, string[]>

const unknownId = '0192f0c1a2b37c4d8e5f60718293a4b5'

/** @param ids some of which are gone by now, as some are with every client */
export function generate(
  api: ApiDescription,
  kind: RequestKind,
  random: Random,
  ids: KnownIds,
): GeneratedRequest {
  const operation = pickOperation(api, random)
  const isHostile = kind === 'hostile'
  const first = operation.path.split('/')[1] ?? ''
  const known = ids.get(first) ?? []
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    if (kind !== 'valid' && random() < 0.2) return escaped(pick(random, naughtyTexts), random, isHostile)
    if (name === 'index') return '0'
    return name === 'id' && known.length > 0 && random() < 0.9 ? pick(random, known) : `msg_${unknownId}`
  })
  const query = operation.parameters.filter((parameter) => parameter.in === 'query')
  const target = path + queryText(api, query, kind, random)
  const headers: OutgoingHttpHeaders = {}
  let body: string | Buffer | null = null
  if (operation.body !== null) {
    const { type, schema } = operation.body
    const value = type === 'text/csv' ? csvOf(random) : valueFrom(api, schema, random)
    headers['content-type'] = isHostile && random() < 0.1 ? pick(random, otherTypes) : type
    if (type === 'text/csv') body = isHostile ? hostileBody([value], random) : String(value)
    else if (isHostile && random() < 0.8) body = hostileBody(value, random)
    else body = JSON.stringify(kind === 'valid' ? value : nearlyValid(value, random))
  } else if (isHostile && random() < 0.3) {
    headers['content-type'] = 'application/json'
    body = hostileBody({ a: 1 }, random)
  }
  if (operation.path === '/send' && random() < 0.1)
    headers['idempotency-key'] = `k${Math.floor(random() * 100)}`
  if (isHostile && random() < 0.2) Object.assign(headers, pick(random, hostileHeaders))
  return { operation, method: operation.method, target, headers, body }
}

/** What makes something comes more often than what removes it, so that there is something to ask for. */
function pickOperation({ operations }: ApiDescription, random: Random): Operation {
  for (;;) {
    const operation = pick(random, operations)
    const isMaking = operation.method === 'POST' && !operation.path.includes('{')
    if (isMaking || random() < (operation.method === 'DELETE' ? 0.1 : 0.4)) return operation
  }
}

const otherTypes = [
  'text/plain',
  'application/json; charset=utf-16',
  'application/json; charset="',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=',
  'application/problem+json',
  'x',
  '',
]

const hostileHeaders: OutgoingHttpHeaders[] = [
  { 'idempotency-key': 'x'.repeat(256) },
  { 'idempotency-key': 'ü' },
  { 'idempotency-key': '' },
  { 'content-encoding': 'gzip' },
  { 'valija-tenant': `ten_${unknownId}` },
  { 'valija-tenant': '\u00ff' },
  { authorization: 'Bearer' },
  { authorization: `Bearer vlj_${'A'.repeat(4_000)}` },
  { authorization: 'Basic Og==' },
  { accept: 'x'.repeat(4_000) },
  { 'x-forwarded-for': '::ffff:999.1.1.1, \u00ff', 'x-forwarded-host': 'evil.test', forwarded: 'for="[' },
  { origin: 'null', 'access-control-request-method': 'X' },
  { expect: 'x' },
  { 'x-request-id': `${'<'.repeat(1_000)}` },
  { cookie: '='.repeat(2_000) },
]

function csvOf(random: Random): string {
  const line = () =>
    `a${Math.floor(random() * 1e6)}@example.test,${pick(random, ['', 'bulk', 'transactional'])}`
  return `email,stream\n${Array.from({ length: 1 + Math.floor(random() * 20) }, line).join('\n')}\n`
}

function queryText(api: ApiDescription, query: Parameter[], kind: RequestKind, random: Random): string {
  const share = random()
  const pairs: string[] = []
  for (const { name, schema, required } of query) {
    if (!required && random() >= share * 0.5) continue
    // A cursor is only known from an answer before, and a made-up one is no valid request.
    if (kind === 'valid' && (name === 'cursor' || name === 'event_id')) continue
    const isSpoiled = kind !== 'valid' && random() < 0.3
    const value = isSpoiled ? pick(random, naughtyTexts) : valueFrom(api, schema, random, name)
    for (const one of Array.isArray(value) ? value : [value])
      pairs.push(`${name}=${escaped(String(one), random, kind === 'hostile')}`)
  }
  if (kind !== 'valid' && random() < 0.1)
    pairs.push(
      pick(random, [
        'x=1',
        'limit=1&limit=2',
        'limit[]=1',
        'to[a]=b',
        '%',
        '%ff=%ff',
        '&&&',
        '__proto__=1',
        `to=${'a'.repeat(8_000)}`,
        '?',
      ]),
    )
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}

/** As a step of a path or a value of a query; a hostile client may leave some of the escapes out. */
function escaped(text: string, random: Random, isHostile: boolean): string {
  if (isHostile && random() < 0.3) return text.replaceAll(/[^\u0021-\u00ff]/g, '%ff')
  return encodeURIComponent(text.toWellFormed())
}

export interface GivenAnswer {
  status: number
  type: string
  text: string
}

/** Sends requests over connections that stay open; a connection that is cut is an answer with the status 0. */
export function createSender(base: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const { hostname, port } = new URL(base)
  const send = (given: GeneratedRequest, caller: OutgoingHttpHeaders): Promise<GivenAnswer> =>
    new Promise((resolve) => {
      const cut = (error: Error) => resolve({ status: 0, type: '', text: String(error) })
      const headers = {
        ...caller,
        ...given.headers,
        ...(given.body !== null && { 'content-length': Buffer.byteLength(given.body) }),
      }
      const { method, target: path } = given
      const request = httpRequest({ agent, hostname, port, method, path, headers }, (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('error', cut)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            type: String(response.headers['content-type'] ?? ''),
            text: Buffer.concat(parts).toString(),
          }),
        )
      })
      request.on('error', cut)
      request.end(given.body ?? undefined)
    })
  return { send, close: () => agent.destroy() }
}
