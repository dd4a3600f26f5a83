/**
 * An HTTP endpoint on loopback that takes webhooks: checks their Standard Webhooks signature, records them, and answers
 * as told. https://www.standardwebhooks.com (specification, "Signature scheme")
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PATIENCE_MS, until } from './until.ts'

export type WebhookAnswer = {
  /** 200 when absent; 'silence' never answers, 'drop' cuts the connection. */
  status?: number | 'silence' | 'drop'
  headers?: Record<string, string>
  body?: string
  delayMs?: number
}

export type ReceivedWebhook<T = Record<string, unknown>> = {
  /** `webhook-id`: the same over retries. */
  id: string
  headers: http.IncomingHttpHeaders
  text: string
  json: T
  /** One of the signatures is right, and the timestamp is within 5 minutes. */
  isVerified: boolean
  path: string
  /** performance.now() at its arrival. */
  atMs: number
}

export type WebhookReceiver = {
  url: string
  port: number
  /** `whsec_…`; may be set later, for it is often told by the endpoint's creation. Several, parted by blanks, all count. */
  secret: string
  /** Answers for the next calls, in order; afterwards 200. A function decides for each. */
  answers: WebhookAnswer[] | ((webhook: ReceivedWebhook) => WebhookAnswer)
  calls: ReceivedWebhook[]
  received: (count: number, timeoutMs?: number) => Promise<ReceivedWebhook[]>
  stop: () => Promise<void>
}

/** The tolerance that the specification's libraries use. */
const TOLERANCE_S = 300

/** Is one of the space-separated `v1,<base64>` signatures the HMAC-SHA256 of `id.timestamp.body` under one of the secrets? */
export function isSigned(headers: http.IncomingHttpHeaders, body: string, secrets: string): boolean {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  )
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false
  return secrets.split(' ').some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
    const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest()
    return (signatures ?? '').split(' ').some((signature) => {
      const given = Buffer.from(signature.replace(/^v1,/, ''), 'base64')
      return (
        signature.startsWith('v1,') && given.length === expected.length && timingSafeEqual(given, expected)
      )
    })
  })
}

async function bodyOf(request: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

async function answer(
  response: http.ServerResponse,
  { status = 200, headers = {}, body = '', delayMs = 0 }: WebhookAnswer,
) {
  if (delayMs > 0) await delay(delayMs)
  if (status === 'silence') return
  if (status === 'drop') response.destroy()
  else response.writeHead(status, headers).end(body)
}

/** Starts an endpoint on 127.0.0.1. */
export async function startWebhookReceiver(secret = '', port = 0): Promise<WebhookReceiver> {
  const server = http.createServer(async (request, response) => {
    const text = await bodyOf(request).catch(() => null)
    if (text === null) return // the sender gave up in the middle
    const call: ReceivedWebhook = {
      id: String(request.headers['webhook-id'] ?? ''),
      headers: request.headers,
      text,
      json: JSON.parse(text || '{}'),
      isVerified: isSigned(request.headers, text, receiver.secret),
      path: request.url ?? '/',
      atMs: performance.now(),
    }
    receiver.calls.push(call)
    const { answers } = receiver
    await answer(response, (typeof answers === 'function' ? answers(call) : answers.shift()) ?? {})
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const bound = (server.address() as AddressInfo).port
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${bound}/`,
    port: bound,
    secret,
    answers: [],
    calls: [],
    received: (count, timeoutMs = PATIENCE_MS) =>
      until(`${count} webhooks`, () => (receiver.calls.length >= count ? receiver.calls : null), timeoutMs),
    stop: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return receiver
}
