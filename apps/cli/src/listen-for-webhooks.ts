/**
 * `valija webhook listen`: an endpoint on loopback for as long as it runs. What is not signed by its webhook's secret is answered 400
 * and told on standard error; so is nothing else that comes by.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyWebhook, type WebhookEvent } from '@valija/client'
import { openApi } from './api-client.ts'
import type { FlagValues } from './command.ts'
import { type listenFlags, narrowed } from './commands/webhook.ts'
import { readNumber } from './flag-values.ts'
import { print } from './output.ts'

type ListenFlags = FlagValues<typeof listenFlags>

/** An event has less than this: the largest batch, of 100, may have it all. */
const largestBody = 8 * 1024 * 1024

/** @param tell says to people where it listens, and what was refused */
export async function listenForWebhooks(flags: ListenFlags, tell: (text: string) => void): Promise<void> {
  const api = await openApi(flags)
  const interrupted = untilInterrupted()
  const endpoint = { secret: '', isTried: false }
  const server = createServer((request, response) => {
    take(request, response, endpoint.secret)
      .then((events) => {
        if (endpoint.isTried) for (const event of events) print(lineOf(event, flags.json))
      })
      .catch((error: Error) => tell(`refused: ${error.message}`))
  })
  server.listen(readNumber('port', flags.port) ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const url = flags['public-url'] ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  try {
    const { id, secret } = await api.request('POST /webhooks', { body: { url, ...narrowed(flags) } })
    endpoint.secret = secret
    try {
      const { ok, error, status_code } = await api.request('POST /webhooks/{id}/test', { path: { id } })
      if (!ok)
        tell(`The API does not reach it, so nothing will come: ${error ?? `it was answered ${status_code}`}`)
      endpoint.isTried = true
      tell(`webhook ${id} listens at ${url}; Ctrl-C ends and deletes it`)
      await interrupted
    } finally {
      await api.request('DELETE /webhooks/{id}', { path: { id } })
      tell(`webhook ${id} is deleted`)
    }
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

/** Ctrl-C comes twice under npm, within a second; one that is later ends it all. */
async function untilInterrupted(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let firstMs: number | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      firstMs ??= performance.now()
      if (performance.now() - firstMs > 1000) process.exit(1)
      resolve()
    })
  }
  await promise
}

/** @throws what makes it no webhook of ours, which is answered 400 */
export async function take(
  request: IncomingMessage,
  response: ServerResponse,
  secret: string,
): Promise<WebhookEvent[]> {
  try {
    const events = await verifyWebhook(await readBody(request), request.headers, secret)
    response.writeHead(204).end()
    return events
  } catch (error) {
    response.writeHead(400, { connection: 'close' }).end()
    throw error
  }
}

/** What does not say how long it is is counted, and its connection ends with the limit. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const tooLarge = () => new Error('The body is too large.')
  if (Number(request.headers['content-length'] ?? 0) > largestBody) throw tooLarge()
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes > largestBody) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function lineOf(event: WebhookEvent, isJson: boolean): string {
  if (isJson) return `${JSON.stringify(event)}\n`
  const { timestamp, type, data } = event
  const { email, seq, reason, reply, message_id } = data as Record<string, unknown>
  const parts = [
    timestamp,
    type.padEnd(20),
    email,
    seq === undefined ? undefined : `#${seq}`,
    message_id,
    reason,
    reply,
  ]
  const line = parts.filter((part) => part !== undefined).join('  ')
  return `${line.replace(/\p{Cc}+/gu, ' ').trimEnd()}\n`
}
