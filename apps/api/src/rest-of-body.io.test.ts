import { once } from 'node:events'
import { createServer, request as send } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { discardRest } from './rest-of-body.ts'

afterEach(() => {
  vi.useRealTimers()
})

/** A server that refuses before it has read, and a request whose body goes on. */
async function refused(headers: Record<string, string>) {
  const server = createServer((request, response) => {
    if (!discardRest(request)) response.setHeader('connection', 'close')
    response.statusCode = 413
    response.end('no')
  })
  // Node cuts a connection on which nothing comes for 5 s; one that brings an octet now and then it does not.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const connected = once(server, 'connection') as Promise<[Socket]>
  const client = send({ port, method: 'POST', headers })
  const gone = new Promise<void>((resolve) => client.on('close', resolve).on('error', () => undefined))
  client.flushHeaders()
  const response = await new Promise<import('node:http').IncomingMessage>((resolve) =>
    client.on('response', resolve),
  )
  response.resume()
  const [socket] = await connected
  return { server, socket, client, response, gone }
}

test('a client that ends its body keeps its connection', async () => {
  const { server, client, response, gone } = await refused({ 'content-length': '5' })
  expect([response.statusCode, response.headers.connection]).toEqual([413, 'keep-alive'])
  client.end('12345')
  await gone
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

test('one that never ends it is cut after 10 s, so that no process waits for it', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const { server, socket, client } = await refused({ 'content-length': '200000000' })
  client.write('x')
  await vi.advanceTimersByTimeAsync(9_999)
  expect(socket.destroyed).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  if (!socket.closed) await once(socket, 'close')
  await new Promise((resolve) => server.close(resolve))
})

test('a body that is announced beyond all measure is not read', async () => {
  const { server, client, response } = await refused({ 'content-length': '300000000' })
  expect(response.headers.connection).toBe('close')
  client.destroy()
  await new Promise((resolve) => server.close(resolve))
})
