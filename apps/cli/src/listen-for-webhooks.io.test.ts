import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { take } from './listen-for-webhooks.ts'

/** @returns why the endpoint refuses a body that never ends */
async function refusalOf(body: (request: http.ClientRequest) => void): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const server = http.createServer((request, response) => {
    take(request, response, 'whsec_x').catch((error: Error) => resolve(error.message))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  const request = http.request({ port, method: 'POST' })
  // It is cut off.
  request.on('error', () => {})
  body(request)
  return await promise
}

test('a body of more than 8 MiB is refused, also one that does not say how long it is', async () => {
  const long = await refusalOf((request) => {
    request.setHeader('content-length', 9 * 1024 * 1024)
    request.write('x')
  })
  expect(long).toBe('The body is too large.')
  expect(await refusalOf((request) => request.write(Buffer.alloc(9 * 1024 * 1024)))).toBe(long)
})
