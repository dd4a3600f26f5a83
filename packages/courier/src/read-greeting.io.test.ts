import { once } from 'node:events'
import net from 'node:net'
import { afterEach, expect, test } from 'vitest'
import {
  type SmtpPeer,
  type SmtpPeerOptions,
  silence,
  startSmtpPeer,
} from '../../../tests/support/smtp-peer.ts'
import { until } from '../../../tests/support/until.ts'
import { createNetworkGuard } from './network-guard.ts'
import { readGreeting } from './read-greeting.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function startPeer(options: SmtpPeerOptions = {}): Promise<SmtpPeer> {
  const peer = await startSmtpPeer(options)
  closers.push(() => peer.stop())
  return peer
}

/** Something that is no mail server. */
async function serve(meet: (socket: net.Socket) => unknown): Promise<number> {
  const server = net.createServer((socket) => meet(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  return (server.address() as net.AddressInfo).port
}

const guard = createNetworkGuard([])
const limits = { connectMs: 2_000, greetingMs: 2_000 }
const at = (port: number) => ({ host: '127.0.0.1', port, localAddress: null, isExemptFromGuard: true })

test('reads the greeting, and says QUIT and nothing else', async () => {
  const peer = await startPeer({ script: { connect: '220-mx.example.test\n220 at your service' } })
  expect(await readGreeting(at(peer.port), guard, limits)).toMatchObject({
    kind: 'greeted',
    reply: { code: 220, text: 'mx.example.test at your service' },
  })
  await until('the connection is over', () => peer.open() === 0)
  expect(peer.transcript.filter((line) => line.includes('<'))).toEqual(['1< QUIT'])
})

test('a refusal in the greeting is a greeting', async () => {
  const peer = await startPeer({ script: { connect: '554 5.7.1 blocked, see https://example.test/' } })
  expect(await readGreeting(at(peer.port), guard, limits)).toMatchObject({
    kind: 'greeted',
    reply: { code: 554, enhanced: '5.7.1' },
  })
})

test('nobody there is told with the cause', async () => {
  expect(await readGreeting(at(1), guard, limits)).toMatchObject({
    kind: 'unreachable',
    failure: 'connection_refused',
    detail: expect.stringContaining('ECONNREFUSED'),
  })
})

test('a private address is not connected to unless the operator named it', async () => {
  const peer = await startPeer()
  const target = { ...at(peer.port), isExemptFromGuard: false }
  expect(await readGreeting(target, guard, limits)).toMatchObject({ failure: 'address_refused' })
  expect(peer.sessions()).toBe(0)
})

test('silence ends in time', async () => {
  const peer = await startPeer({ script: { connect: silence() } })
  expect(await readGreeting(at(peer.port), guard, { ...limits, greetingMs: 20 })).toMatchObject({
    kind: 'mute',
  })
})

test('a connection that is closed without a word is told', async () => {
  const port = await serve((socket) => socket.end())
  expect(await readGreeting(at(port), guard, limits)).toEqual({
    kind: 'mute',
    detail: 'the connection was closed without a greeting',
  })
})

test('a server of something else is told', async () => {
  const port = await serve((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n'))
  expect(await readGreeting(at(port), guard, limits)).toEqual({
    kind: 'mute',
    detail: 'what came is no greeting of a mail server',
  })
})
