/**
 * What stands in front of two API processes: it hands each request to one of them, over connections that it keeps, and repeats it at
 * the other, with its Idempotency-Key, when that one is away: refuses the connection, closes it before the first octet of an
 * answer, or answers 503. It counts how often it had to.
 */
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { PATIENCE_MS } from './until.ts'

export type Balanced = { status: number; headers: http.IncomingHttpHeaders; text: string }

export type Balancer = {
  /** Where the processes listen now; one that is started anew may have another place. */
  urls: string[]
  /** Posts until somebody answers something other than 503. */
  post: (path: string, body: string, key: string) => Promise<Balanced>
  /** Why requests were repeated. */
  repeated: {
    refused: number
    /** Answered 503, and how many of those answers left the connection open. */
    unavailable: number
    unavailableKeptOpen: number
    /** Closed after the request was written whole: with or without having been carried out, as its repetition tells. */
    cutUnseen: number
    cutInWork: number
  }
  stop: () => void
}

/** What came instead of an answer. */
class Away extends Error {
  readonly isWritten: boolean
  constructor(isWritten: boolean, cause: unknown) {
    super('the other side is away', { cause })
    this.isWritten = isWritten
  }
}

/** Between two tries, so that a process that is away is not asked as fast as it can refuse. */
const PAUSE_MS = 20

export function startBalancer(urls: string[], apiKey: string): Balancer {
  const agent = new http.Agent({ keepAlive: true })
  const repeated = { refused: 0, unavailable: 0, unavailableKeptOpen: 0, cutUnseen: 0, cutInWork: 0 }
  let turn = 0
  const ask = (url: string, body: string, key: string) =>
    new Promise<Balanced>((resolve, reject) => {
      let isWritten = false
      const request = http.request(url, {
        agent,
        method: 'POST',
        headers: {
          authorization: `Bearer ${apiKey}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'idempotency-key': key,
        },
      })
      request.once('finish', () => (isWritten = true))
      request.once('error', (error) => reject(new Away(isWritten, error)))
      request.once('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        // A cut in the middle of an answer is no balancer's to hide.
        response.once('error', reject)
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        )
      })
      request.end(body)
    })
  const noteUnavailable = ({ headers }: Balanced) => {
    repeated.unavailable += 1
    if (headers.connection !== 'close') repeated.unavailableKeptOpen += 1
  }
  const balancer: Balancer = {
    urls,
    repeated,
    stop: () => agent.destroy(),
    post: async (path, body, key) => {
      const end = performance.now() + PATIENCE_MS
      let wasCut = false
      for (;;) {
        turn += 1
        try {
          const answer = await ask(`${balancer.urls[turn % balancer.urls.length]}${path}`, body, key)
          if (answer.status !== 503) {
            if (wasCut) repeated[answer.headers['idempotency-replayed'] ? 'cutInWork' : 'cutUnseen'] += 1
            return answer
          }
          noteUnavailable(answer)
        } catch (error) {
          if (!(error instanceof Away)) throw error
          if (error.isWritten) wasCut = true
          else repeated.refused += 1
        }
        if (performance.now() > end) throw new Error(`${path} found nobody within ${PATIENCE_MS} ms`)
        await delay(PAUSE_MS)
      }
    },
  }
  return balancer
}
