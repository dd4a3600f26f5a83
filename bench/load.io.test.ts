import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { plainReceipt } from './mails.ts'
import { startProgram } from './program.ts'

interface Batch {
  key: string
  froms: string[]
  numbers: number[]
}

/** Takes batches, and answers as it is told to. */
async function startApi(status: number) {
  const batches: Batch[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const { messages } = JSON.parse(text) as { messages: { from: string; headers: { 'X-Ledger': string } }[] }
    batches.push({
      key: request.headers.authorization ?? '',
      froms: messages.map(({ from }) => from),
      numbers: messages.map(({ headers }) => Number(headers['X-Ledger'])),
    })
    response.writeHead(status, { 'content-length': 2 }).end('{}')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { batches, server, port: (server.address() as AddressInfo).port }
}

test('filling posts each number once, and a batch has mails of the tenant whose key it comes with', async () => {
  const { batches, server, port } = await startApi(202)
  const load = startProgram('load.ts')
  try {
    const apiKeys = ['k0', 'k1', 'k2']
    await load.ask('fill', { port, apiKeys, shape: { ...plainReceipt, tenants: 3 }, first: 100, count: 200 })
    const numbers = batches.flatMap((batch) => batch.numbers).sort((a, b) => a - b)
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, index) => 100 + index))
    for (const { key, froms, numbers: own } of batches) {
      const tenant = (own[0] ?? 0) % 3
      expect(key).toBe(`Bearer k${tenant}`)
      expect(new Set(froms)).toEqual(new Set([`Café Müller <mail@shop0000000${tenant}.test>`]))
    }
  } finally {
    await load.end()
    server.close()
  }
})

test('a batch that is refused ends the filling', async () => {
  const { server, port } = await startApi(503)
  const load = startProgram('load.ts')
  try {
    const asked = load.ask('fill', { port, apiKeys: ['k'], shape: plainReceipt, first: 0, count: 50 })
    await expect(asked).rejects.toThrow('a batch was answered 503')
  } finally {
    await load.end()
    server.close()
  }
})

test('connections that the server has closed meanwhile are opened anew', async () => {
  let requests = 0
  const server = createServer((request, response) => {
    requests += 1
    request.resume().on('end', () => response.writeHead(202, { 'content-length': 2 }).end('{}'))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const load = startProgram('load.ts')
  try {
    const input = { port, apiKeys: [], shape: plainReceipt, first: 0, count: 20, connections: 4, perS: 1_000 }
    await load.ask('post', input)
    server.closeAllConnections()
    // What has had an answer since then has seen the end of the others too.
    await load.ask('fill', { port, apiKeys: [], shape: plainReceipt, first: 20, count: 25 })
    await load.ask('post', { ...input, first: 45 })
    expect(requests).toBe(20 + 1 + 20)
  } finally {
    await load.end()
    server.close()
  }
})
