/** What holds for every route, asked of every route that the API's own description names; and the app's bounds. */
import { connect, type Socket } from 'node:net'
import { scopes } from '@valija/core'
import { Ajv } from 'ajv'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../../tests/support/ports.ts'
import { completeRoute } from './app.ts'
import { adminKey, message, openTestApi, type TestApi } from './open-api.test-support.ts'

interface Operation {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  url: string
  isOpen: boolean
  isOperators: boolean
  hasBody: boolean
}

interface Parameter {
  name: string
  required?: boolean
  schema: object
}

let api: TestApi
let operations: Operation[]

beforeAll(async () => {
  api = await openTestApi({
    corsOrigins: ['https://app.acme.test'],
    trustProxy: ['10.0.0.0/8'],
    metricsToken: 'scrape',
  })
  const { paths } = (await api.ask('GET', '/openapi.json', { key: null })).json()
  operations = Object.entries(
    paths as Record<
      string,
      Record<string, { security: object[]; description: string; requestBody?: object }>
    >,
  ).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase() as Operation['method'],
      url: path.replaceAll(/\{\w+\}/g, '0'),
      isOpen: operation.security.length === 0,
      isOperators: operation.description.includes('Only with the operator’s'),
      hasBody: operation.requestBody !== undefined,
    })),
  )
})
afterAll(() => api?.close())

/** Everything in the description that says what a value looks like. */
function* schemasIn(node: unknown, key = ''): Generator<object> {
  if (typeof node !== 'object' || node === null) return
  if (key === 'schema') yield node
  else if (key === 'schemas') yield* Object.values(node)
  else for (const [name, value] of Object.entries(node)) yield* schemasIn(value, name)
}

const asOperator = () => ({
  authorization: `Bearer ${adminKey}`,
  'valija-tenant': `ten_${api.tenant.id.replaceAll('-', '')}`,
})

describe('every route', () => {
  test('there are routes to ask', () => {
    expect(operations.length).toBeGreaterThan(15)
    expect(operations.filter((operation) => operation.isOpen).map((operation) => operation.url)).toEqual([
      '/healthz',
      '/readyz',
      '/metrics',
    ])
  })

  test('describes what it takes and gives by schemas that are valid ones', async () => {
    // The app itself does not look (validators.ts).
    const ajv = new Ajv({ strict: false, formats: fullFormats })
    const schemas = [...schemasIn((await api.ask('GET', '/openapi.json', { key: null })).json())]
    expect(schemas.length).toBeGreaterThan(200)
    expect(
      schemas.filter((schema) => ajv.validateSchema(schema) !== true).map((schema) => [schema, ajv.errors]),
    ).toEqual([])
  })

  test('lets nobody in without a key', async () => {
    for (const { method, url, isOpen } of operations) {
      const answer = await api.ask(method, url, { key: null })
      if (!isOpen) expect([method, url, answer.statusCode]).toEqual([method, url, 401])
    }
  })

  test('knows no tenant that there is not, and no caller who has no request left', async () => {
    const tenant = { ...asOperator(), 'valija-tenant': `ten_${'0'.repeat(32)}` }
    const body = { name: 'spent', scopes: [...scopes], limits: { requests_per_minute: 1 } }
    const { key } = (await api.ask('POST', '/keys', { body })).json()
    await api.ask('GET', '/keys', { key })
    for (const { method, url, isOpen, isOperators } of operations) {
      if (isOpen) continue
      const unknown = await api.ask(method, url, { key: null, headers: tenant })
      const { statusCode, headers } = await api.ask(method, url, { key })
      expect([method, url, unknown.statusCode, statusCode]).toEqual([
        method,
        url,
        404,
        isOperators ? 403 : 429,
      ])
      if (!isOperators) expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    }
  })

  test('refuses an unknown query key', async () => {
    for (const { method, url, hasBody } of operations) {
      // A body that is missing would be refused first.
      if (hasBody) continue
      const answer = await api.ask(method, `${url}?colour=red`, { key: null, headers: asOperator() })
      expect([method, url, answer.json().errors?.[0].path]).toEqual([method, url, 'colour'])
    }
  })

  test('takes no body but JSON', async () => {
    for (const { method, url, hasBody } of operations) {
      if (!hasBody) continue
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        ' ',
      ]) {
        const headers = { ...asOperator(), 'content-type': type }
        const answer = await api.ask(method, url, { key: null, headers, body: '{}' })
        expect([method, url, type, answer.statusCode]).toEqual([method, url, type, 415])
      }
    }
  })

  test('refuses a body that is longer than a mebibyte, except a mail and a file', async () => {
    const withLongBodies = ['/send', '/send/batch', '/send/preview', '/suppressions/import']
    for (const { method, url, hasBody } of operations) {
      if (!hasBody || withLongBodies.includes(url)) continue
      const headers = { ...asOperator(), 'content-type': 'application/json' }
      const answer = await api.ask(method, url, {
        key: null,
        headers,
        body: Buffer.alloc(1024 * 1024 + 1, 0x20),
      })
      expect([method, url, answer.statusCode]).toEqual([method, url, 413])
    }
  })

  test('says who may use it, or the app is not built', () => {
    const route = { method: 'GET' as const, url: '/forgotten', handler: () => undefined }
    expect(() => completeRoute(route)).toThrow('GET /forgotten does not say who may use it')
  })
})

describe('answers', () => {
  test('an unknown path is a problem like any other', async () => {
    const answer = await api.ask('GET', '/nothing', { key: null })
    expect(answer.json()).toMatchObject({
      status: 404,
      code: 'not_found',
      detail: 'There is no GET /nothing.',
    })
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test('a path of this version that has other methods names them', async () => {
    const answer = await api.ask('PATCH', '/messages/msg_1/events', { key: null })
    expect(answer.json()).toMatchObject({
      status: 405,
      code: 'method_not_allowed',
      detail: '/messages/msg_1/events takes GET, HEAD.',
    })
    expect(answer.headers.allow).toBe('GET, HEAD')
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    const collection = await api.ask('DELETE', '/webhooks', { key: null })
    expect(collection.headers.allow).toBe('GET, HEAD, POST')
  })

  test('what is yet to come is told apart from a slip of the pen', async () => {
    const { detail } = (await api.ask('POST', '/compat/resend/emails', { body: {} })).json()
    expect(detail).toBe('There is no POST /compat/resend/emails in this version.')
  })

  test('a browser is led to the pages, and the description is there in both forms', async () => {
    const places = async (url: string) => {
      const { statusCode, headers } = await api.ask('GET', url, { key: null })
      return [statusCode, headers.location]
    }
    expect(await places('/')).toEqual([302, '/docs'])
    expect(await places('/ui')).toEqual([302, '/ui/inbox'])
    expect(await places('/ui/')).toEqual([302, '/ui/inbox'])
    const yaml = await api.ask('GET', '/openapi.yaml', { key: null })
    expect(yaml.headers['content-type']).toMatch(/^application\/yaml/)
    expect(yaml.body).toMatch(/^openapi: 3\.1/)
  })

  test('a path that is no UTF-8 is a problem, too', async () => {
    const answer = await api.ask('GET', '/messages/%ff')
    expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('a browser is told to run, frame and guess nothing', async () => {
    const { headers } = await api.ask('GET', '/messages')
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    })
  })

  test('only the listed origins may call from a page', async () => {
    const of = async (origin: string) => (await api.ask('GET', '/messages', { headers: { origin } })).headers
    expect((await of('https://app.acme.test'))['access-control-allow-origin']).toBe('https://app.acme.test')
    expect((await of('https://evil.test'))['access-control-allow-origin']).toBeUndefined()
    const preflight = await api.ask('OPTIONS', '/send', {
      key: null,
      headers: { origin: 'https://app.acme.test', 'access-control-request-method': 'POST' },
    })
    expect(preflight.statusCode).toBe(204)
  })

  test('limit is optional in every list, with its default', async () => {
    const { paths } = (await api.ask('GET', '/openapi.json', { key: null })).json()
    const limits = Object.values(paths as Record<string, { get?: { parameters?: Parameter[] } }>).flatMap(
      ({ get }) => get?.parameters?.filter(({ name }) => name === 'limit') ?? [],
    )
    expect(limits.length).toBeGreaterThan(5)
    for (const limit of limits) expect(limit).toMatchObject({ required: false, schema: { default: 25 } })
  })

  test('the reference page loads nothing from elsewhere', async () => {
    const page = await api.ask('GET', '/docs/', { key: null })
    expect(page.statusCode).toBe(200)
    expect(page.body).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
    expect(page.headers['content-security-policy']).toContain("connect-src 'self'")
    const program = await api.ask('GET', '/docs/js/scalar.js', { key: null })
    expect(program.statusCode).toBe(200)
    expect(program.headers['content-type']).toMatch(/^application\/javascript/)
    expect(program.body.length).toBeGreaterThan(1_000_000)
    const moved = await api.ask('GET', '/docs', { key: null })
    expect([moved.statusCode, moved.headers.location]).toEqual([301, '/docs/'])
  })
})

describe('the operator', () => {
  test('acts for a tenant by Valija-Tenant, and for none without it', async () => {
    const acting = await api.ask('GET', '/messages', { key: null, headers: asOperator() })
    expect(acting.statusCode).toBe(200)
    const nobody = await api.ask('GET', '/messages', { key: adminKey })
    expect(nobody.json()).toMatchObject({ status: 400, errors: [{ path: 'Valija-Tenant' }] })
  })

  test('routes of the operator are closed to keys of tenants', async () => {
    expect((await api.ask('GET', '/tenants')).json()).toMatchObject({
      status: 403,
      code: 'insufficient_scope',
      detail: 'Only the operator’s key (VALIJA_ADMIN_KEY) may do this.',
    })
  })
})

describe('on a port', () => {
  let port: number
  const sockets: Socket[] = []

  beforeAll(async () => {
    port = await freePort()
    await api.app.listen({ host: '127.0.0.1', port })
  })
  afterAll(() => {
    for (const socket of sockets) socket.destroy()
  })

  /** Opens a connection, writes, and gives what comes back until it has the pattern. */
  function open(text: string): { socket: Socket; answers: (pattern: RegExp) => Promise<string> } {
    const socket = connect({ port, host: '127.0.0.1' })
    sockets.push(socket)
    socket.on('error', () => undefined)
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    socket.write(text)
    const answers = (pattern: RegExp) =>
      new Promise<string>((resolve) => {
        const look = () => pattern.test(received) && resolve(received)
        socket.on('data', look)
        socket.on('close', () => resolve(received))
        look()
      })
    return { socket, answers }
  }

  const head = (lengthBytes: number) =>
    `POST /send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tenant.key}\r\nContent-Type: application/json\r\nContent-Length: ${lengthBytes}\r\n\r\n`

  test('what is not HTTP is answered with a problem and a closed connection', async () => {
    const answer = await open('EHLO mail.test\r\n\r\n').answers(/\}$/)
    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*application\/problem\+json[\s\S]*"code":"invalid_request"/)
  })

  test('a client may not take for ever, nor say nothing for ever', () => {
    const { server } = api.app
    expect(server.requestTimeout).toBeGreaterThan(0)
    expect(server.headersTimeout).toBeGreaterThan(0)
    expect(server.timeout).toBeGreaterThan(0)
    expect(server.keepAliveTimeout).toBeLessThan(server.timeout)
  })

  test('beyond the budget for octets under way large requests get 503, small ones do not', async () => {
    const large = 6 * 1024 * 1024
    // Three quarters of 18 MiB hold two of them.
    const held = [open(head(large)), open(head(large))]
    await waitUntilHeld()
    const refused = await open(head(large)).answers(/\}$/)
    expect(refused).toMatch(/^HTTP\/1\.1 503 [\s\S]*retry-after: 1[\s\S]*"code":"overloaded"/i)
    const body = JSON.stringify(message)
    expect(await open(head(body.length) + body).answers(/\}$/)).toMatch(/^HTTP\/1\.1 202 /)
    for (const { socket } of held) socket.destroy()
    // What was taken by those who went away is free again.
    let answer = ''
    while (!answer.startsWith('HTTP/1.1 100')) {
      const probe = open(head(large).replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n'))
      answer = await Promise.race([probe.answers(/\r\n\r\n/)])
      probe.socket.destroy()
      if (!/ 503 /.test(answer)) break
    }
    expect(answer).not.toMatch(/ 503 /)

    /** Both requests have passed authentication once a third of their size is refused. */
    async function waitUntilHeld() {
      let probe = ''
      while (!/ 503 /.test(probe)) {
        const third = open(head(large))
        probe = await Promise.race([
          third.answers(/\}$/),
          new Promise<string>((resolve) => setTimeout(resolve, 100, '')),
        ])
        third.socket.destroy()
      }
    }
  })

  test('while it closes, requests on open connections get 503 and the connection ends', async () => {
    const { socket, answers } = open('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    await answers(/"ok"/)
    // Held open by a request that has begun, so that closing has something to wait for.
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n')
    await new Promise((resolve) => setTimeout(resolve, 50))
    const closing = api.app.close()
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.write('\r\n')
    const answer = await answers(/overloaded/)
    expect(answer).toMatch(/HTTP\/1\.1 503 [\s\S]*retry-after: 1/i)
    await closing
  })
})
