/** An HTTP server on loopback that answers as it is told, call by call, and keeps what it was asked. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { Valija } from './valija.ts'

export interface Asked {
  method: string
  path: string
  headers: http.IncomingHttpHeaders
  body: string
  /** performance.now() */
  atMs: number
}

/** `cut`: the request is read, and the connection ends. `silence`: nothing comes. */
export type ScriptedAnswer =
  | 'cut'
  | 'silence'
  | { status?: number; headers?: Record<string, string>; json?: unknown; text?: string; type?: string }

export interface ScriptedApi {
  url: string
  asked: Asked[]
  /** With waits of its own as in production, and a key. */
  client: Valija
}

/** Ends with the test. @param answers in order; the last one goes on, a function decides for each */
export async function startScriptedApi(
  answers: ScriptedAnswer[] | ((asked: Asked, count: number) => ScriptedAnswer),
): Promise<ScriptedApi> {
  const asked: Asked[] = []
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url = '', headers } = request
    const one = {
      method,
      path: url,
      headers,
      body: Buffer.concat(chunks).toString(),
      atMs: performance.now(),
    }
    asked.push(one)
    const answer =
      typeof answers === 'function'
        ? answers(one, asked.length)
        : (answers[asked.length - 1] ?? answers.at(-1)!)
    if (answer === 'silence') return
    if (answer === 'cut') return void response.destroy()
    const { status = 200, headers: more = {}, json, text, type = 'application/json; charset=utf-8' } = answer
    response.writeHead(status, { 'content-type': type, ...more }).end(text ?? JSON.stringify(json))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, asked, client: new Valija({ url, apiKey: 'vlj_test' }) }
}

export const problem = (status: number, code: string, headers: Record<string, string> = {}) => ({
  status,
  headers,
  json: {
    type: `urn:valija:error:${code}`,
    title: `It is ${code}`,
    status,
    code,
    fix: 'Do.',
    request_id: 'req-7',
  },
})
