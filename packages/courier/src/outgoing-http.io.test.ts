import { once } from 'node:events'
import http from 'node:http'
import net, { type LookupFunction } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../../../tests/support/ports.ts'
import { createOutgoingHttp, type OutgoingHttp } from './outgoing-http.ts'

const closers: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function startServer(handler: http.RequestListener): Promise<{ port: number; server: http.Server }> {
  const server = http.createServer(handler)
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port, server }
}

async function startRaw(onSocket: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    closers.push(() => socket.destroy())
    onSocket(socket)
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  return port
}

function create(allowNetworks: string[], lookup?: LookupFunction): OutgoingHttp {
  const made = createOutgoingHttp({ allowNetworks, ...(lookup ? { lookup } : {}) })
  closers.push(() => made.close())
  return made
}

const request = {
  headers: { 'content-type': 'application/json', 'webhook-id': 'evt_1' },
  body: '{"a":1}',
  timeoutMs: 2_000,
}

describe('an answer', () => {
  test('carries status, Retry-After and the beginning of the body, and the request arrived as given', async () => {
    const seen: unknown[] = []
    const { port } = await startServer(async (incoming, response) => {
      const chunks = await incoming.toArray()
      seen.push(
        incoming.method,
        incoming.url,
        incoming.headers['webhook-id'],
        Buffer.concat(chunks).toString(),
      )
      response.writeHead(503, { 'retry-after': '7' }).end('later')
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/hook?x=1`, request)
    expect(result).toMatchObject({ kind: 'answer', statusCode: 503, retryAfterMs: 7_000, bodyStart: 'later' })
    expect(seen).toEqual(['POST', '/hook?x=1', 'evt_1', '{"a":1}'])
  })

  test('Retry-After may be a date, and nonsense is nothing', async () => {
    const values = [new Date(Date.now() + 60_000).toUTCString(), 'soon', '-5']
    const { port } = await startServer((_, response) => {
      response.writeHead(429, { 'retry-after': values.shift() }).end()
    })
    const client = create(['127.0.0.0/8'])
    const url = `http://127.0.0.1:${port}/`
    const dated = await client.post(url, request)
    expect(dated.kind === 'answer' && dated.retryAfterMs).toBeGreaterThan(50_000)
    expect(await client.post(url, request)).toMatchObject({ retryAfterMs: null })
    expect(await client.post(url, request)).toMatchObject({ retryAfterMs: null })
  })

  test('a redirect is an answer, not followed', async () => {
    let requests = 0
    const { port } = await startServer((_, response) => {
      requests += 1
      response.writeHead(307, { location: '/elsewhere' }).end()
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result).toMatchObject({ kind: 'answer', statusCode: 307 })
    expect(requests).toBe(1)
  })

  test('of an endless body 64 KB are read and 1 KB is kept', async () => {
    let written = 0
    const { port } = await startServer((_, response) => {
      const piece = Buffer.alloc(64 * 1024, 'x')
      const write = () => {
        while (!response.destroyed) {
          written += piece.length
          if (!response.write(piece)) return
        }
      }
      response.on('drain', write)
      write()
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result.kind === 'answer' && result.bodyStart).toBe('x'.repeat(1024))
    expect(written).toBeLessThan(20_000_000)
  })

  test('a compressed body stays compressed', async () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000))
    const { port } = await startServer((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result.kind === 'answer' && result.bodyStart.length).toBeLessThanOrEqual(1024)
    expect(result.kind === 'answer' && result.bodyStart).not.toContain('\0')
  })

  test('connections are used again, and not made anew for every request', async () => {
    const sockets = new Set<net.Socket>()
    const { port, server } = await startServer((_, response) => setTimeout(() => response.end('ok'), 5))
    server.on('connection', (socket) => sockets.add(socket))
    const client = create(['127.0.0.0/8'])
    const url = `http://127.0.0.1:${port}/`
    await Promise.all(Array.from({ length: 50 }, () => client.post(url, request)))
    expect(sockets.size).toBeLessThanOrEqual(50)
    // Connections that nobody needed any more may have come last.
    await client.post(url, request)
    const before = sockets.size
    for (let i = 0; i < 5; i += 1) await client.post(url, request)
    expect(sockets.size).toBe(before)
  })
})

describe('a failure', () => {
  test('silence ends at the deadline', async () => {
    const port = await startRaw(() => {})
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, {
      ...request,
      timeoutMs: 150,
    })
    expect(result).toMatchObject({ kind: 'failure', code: 'timeout' })
    expect(result.durationMs).toBeLessThan(1_500)
  })

  test('a header that drips ends at the deadline', async () => {
    const port = await startRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n')
      const timer = setInterval(() => socket.write('x'), 20)
      socket.once('close', () => clearInterval(timer))
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, {
      ...request,
      timeoutMs: 200,
    })
    expect(result).toMatchObject({ kind: 'failure', code: 'timeout' })
    expect(result.durationMs).toBeLessThan(1_500)
  })

  test('a body that drips ends at the deadline, with the status that is known', async () => {
    const port = await startRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n')
      const timer = setInterval(() => socket.write('x'), 20)
      socket.once('close', () => clearInterval(timer))
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, {
      ...request,
      timeoutMs: 200,
    })
    expect(result).toMatchObject({ kind: 'answer', statusCode: 200 })
    expect(result.durationMs).toBeLessThan(1_500)
  })

  test('endless headers are refused', async () => {
    const port = await startRaw((socket) => {
      socket.write(
        `HTTP/1.1 200 OK\r\n${'x-filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(2_000)}`,
      )
    })
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result).toMatchObject({ kind: 'failure', code: 'protocol' })
  })

  test('what is not HTTP is refused', async () => {
    const port = await startRaw((socket) => socket.end('220 mx.example ESMTP\r\n'))
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result).toMatchObject({ kind: 'failure', code: 'protocol' })
  })

  test('nobody listens', async () => {
    const { port, server } = await startServer(() => {})
    server.close()
    const result = await create(['127.0.0.0/8']).post(`http://127.0.0.1:${port}/`, request)
    expect(result).toMatchObject({ kind: 'failure', code: 'connection_failed' })
  })

  test('plain HTTP on an https URL is a matter of TLS', async () => {
    const { port } = await startServer((_, response) => response.end())
    const result = await create(['127.0.0.0/8']).post(`https://127.0.0.1:${port}/`, request)
    expect(result).toMatchObject({ kind: 'failure', code: 'tls' })
  })

  test.each([
    '',
    'nonsense',
    '/hook',
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://x/',
    'http://',
    'http://u:p@example.com/',
    'https://u@example.com/',
  ])('%j is not called', async (url) => {
    expect(await create(['0.0.0.0/0']).post(url, request)).toMatchObject({ kind: 'failure', code: 'bad_url' })
  })
})

describe('a GET', () => {
  const document = { headers: { accept: 'text/plain' }, maxBodyBytes: 10, timeoutMs: 2_000 }

  test('brings the whole body, its type, and whether there is more of it', async () => {
    const bodies = ['0123456789', '0123456789a']
    const { port } = await startServer((incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
      response.end(incoming.method === 'GET' ? bodies.shift() : '')
    })
    const client = create(['127.0.0.0/8'])
    const whole = { kind: 'answer', statusCode: 200, body: Buffer.from('0123456789') }
    expect(await client.get(`http://127.0.0.1:${port}/`, document)).toMatchObject({
      ...whole,
      contentType: 'text/plain; charset=utf-8',
      isCut: false,
    })
    expect(await client.get(`http://127.0.0.1:${port}/`, document)).toMatchObject({ ...whole, isCut: true })
  })

  test('whose body drips or breaks off has failed', async () => {
    const port = await startRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234')
    })
    const client = create(['127.0.0.0/8'])
    expect(await client.get(`http://127.0.0.1:${port}/`, { ...document, timeoutMs: 150 })).toMatchObject({
      kind: 'failure',
      code: 'timeout',
    })
    const cutting = await startRaw((socket) => {
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234')
    })
    expect(await client.get(`http://127.0.0.1:${cutting}/`, document)).toMatchObject({ kind: 'failure' })
  })

  test('goes to no private address', async () => {
    const { port } = await startServer((_, response) => response.end('reached'))
    const result = await create([]).get(`http://127.0.0.1:${port}/`, document)
    expect(result).toMatchObject({ kind: 'failure', code: 'address_refused' })
  })
})

describe('private addresses', () => {
  /** Spellings of hosts that all mean this machine or a private network to some program. */
  const spellings = [
    '127.0.0.1',
    '127.1',
    '127.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0x7f.0x0.0x0.0x1',
    '017700000001',
    '0177.0.0.1',
    '0177.0.0.0x1',
    '127.0.0.1.',
    '0',
    '0.0.0.0',
    '１２７.０.０.１',
    '127。0。0。1',
    '%31%32%37.0.0.1',
    '[::1]',
    '[::]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:127.0.0.1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b::127.0.0.1]',
    '[2002:7f00:1::]',
    '[2001:0:7f00:1::]',
    '[fe80::1]',
    '[fd00:ec2::254]',
    '10.0.0.1',
    '192.168.0.1',
    '172.16.0.1',
    '169.254.169.254',
    '0xa9fea9fe',
    '2852039166',
    '100.64.0.1',
    '198.18.0.1',
    '192.0.0.192',
    '224.0.0.1',
    '255.255.255.255',
    '203.0.113.9',
  ]

  test.each(spellings)('http and https to %s are refused before a packet is sent', async (host) => {
    let connections = 0
    const { port, server } = await startServer((_, response) => response.end('reached'))
    server.on('connection', () => {
      connections += 1
    })
    const client = create([])
    for (const scheme of ['http', 'https']) {
      const result = await client.post(`${scheme}://${host}:${port}/`, request)
      expect(result).toMatchObject({ kind: 'failure', code: 'address_refused' })
    }
    expect(connections).toBe(0)
  })

  test('a name that leads to loopback is refused, whatever else it leads to', async () => {
    const { port } = await startServer((_, response) => response.end('reached'))
    const answers = [['127.0.0.1'], ['::1'], ['::ffff:127.0.0.1'], ['8.8.8.8', '127.0.0.1']]
    for (const addresses of answers) {
      const client = create([], (_host, _options, callback) =>
        callback(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        ),
      )
      const result = await client.post(`http://hooks.example:${port}/`, request)
      expect(result).toMatchObject({ kind: 'failure', code: 'address_refused' })
    }
  })

  test('this machine’s own address is refused though it is public, as a literal and behind a name, unless it is allowed', async () => {
    // In a part of global unicast that IANA has given to nobody: no connection could be made.
    const own = '2e00::1'
    const lookup: LookupFunction = (_host, _options, callback) =>
      callback(null, [{ address: own, family: 6 }])
    const codeOf = async (allowNetworks: string[], url: string) => {
      const made = createOutgoingHttp({ allowNetworks, lookup, ownAddresses: () => ['127.0.0.1', own] })
      closers.push(() => made.close())
      const result = await made.post(url, { ...request, timeoutMs: 300 })
      return result.kind === 'failure' && result.code
    }
    const urls = [`http://[${own}]/`, 'http://own.example/']
    for (const url of urls) expect(await codeOf([], url)).toBe('address_refused')
    expect(await codeOf([`${own}/128`], urls[0]!)).toMatch(/^(?:connection_failed|timeout)$/)
  })

  test('a name is looked up for each connection: one that changes its mind is refused', async () => {
    const { port } = await startServer((_, response) =>
      response.writeHead(200, { connection: 'close' }).end('reached'),
    )
    const addresses = ['127.0.0.1', '127.0.0.2']
    const client = create(['127.0.0.1/32'], (_host, _options, callback) =>
      callback(null, [{ address: addresses.shift() ?? '127.0.0.2', family: 4 }]),
    )
    expect(await client.post(`http://hooks.example:${port}/`, request)).toMatchObject({
      bodyStart: 'reached',
    })
    expect(await client.post(`http://hooks.example:${port}/`, request)).toMatchObject({
      code: 'address_refused',
    })
  })

  test('localhost is refused by its address', async () => {
    const { port } = await startServer((_, response) => response.end('reached'))
    const result = await create([]).post(`http://localhost:${port}/`, request)
    expect(result).toMatchObject({ kind: 'failure', code: 'address_refused' })
  })
})
