/**
 * The load: posts receipts over HTTP/1.1 on kept connections, one request at a time on each (a closed loop). A client of its own
 * on bare sockets, because a real one costs more than the server that is measured, and both share the cores.
 *
 *   node bench/load.ts      (started by bench/main.ts; asked over IPC)
 */
import net from 'node:net'
import { answerQuestions, monotonicMs } from './program.ts'
import { createBodyWriter } from './receipt.ts'

export interface LoadInput {
  port: number
  /** Null: the server asks for none. */
  apiKey: string | null
  /** Numbers of the receipts: `first` to `first + count - 1`. */
  first: number
  count: number
  connections: number
}

export interface LoadResult {
  /** When the first request was written and the last answer read, by the monotonic clock. */
  startedAtMs: number
  endedAtMs: number
  /** Answers by HTTP status. */
  statuses: Record<string, number>
  /** From a request's last octet written to its answer, in milliseconds. */
  p50Ms: number
  p99Ms: number
}

const writeBody = createBodyWriter()

interface Lane {
  post(head: string, number: number): Promise<number>
  close(): void
}

/** A connection that posts and waits, in turn. */
async function openLane(port: number): Promise<Lane> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  let waiting: PromiseWithResolvers<number> | null = null
  let received = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    const length = answerLength(received)
    if (length === null || received.length < length) return
    const status = Number(received.slice(9, 12))
    received = received.slice(length)
    waiting?.resolve(status)
  })
  const fail = (error?: Error) => waiting?.reject(error ?? new Error('the server closed a connection'))
  const opened = Promise.withResolvers<void>()
  socket.once('connect', opened.resolve).once('error', opened.reject)
  await opened.promise
  socket.on('error', fail).once('close', () => fail())
  return {
    post: (head, number) => {
      const body = writeBody(number)
      waiting = Promise.withResolvers<number>()
      socket.cork()
      socket.write(`${head}Content-Length: ${body.length}\r\n\r\n`, 'latin1')
      socket.write(body)
      socket.uncork()
      return waiting.promise
    },
    close: () => socket.destroy(),
  }
}

/** Octets of the answer that `text` begins with; null while its head is not complete. */
function answerLength(text: string): number | null {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const declared = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, headEnd + 2))?.[1]
  if (declared === undefined) throw new Error('an answer without Content-Length')
  return headEnd + 4 + Number(declared)
}

/** Kept between questions: a single mail should not wait for a connection. */
let lanes: Lane[] = []
let lanesPort = 0

async function post({ port, apiKey, first, count, connections }: LoadInput): Promise<LoadResult> {
  if (port !== lanesPort || lanes.length !== connections) {
    for (const lane of lanes) lane.close()
    lanes = await Promise.all(Array.from({ length: connections }, () => openLane(port)))
    lanesPort = port
  }
  const authorization = apiKey === null ? '' : `Authorization: Bearer ${apiKey}\r\n`
  const head = `POST /send HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${authorization}Content-Type: application/json\r\n`
  const statuses: Record<string, number> = {}
  const durations = new Float64Array(count)
  let next = 0
  const startedAtMs = monotonicMs()
  const work = async (lane: Lane) => {
    while (next < count) {
      const index = next++
      const sentAtMs = monotonicMs()
      const status = await lane.post(head, first + index)
      durations[index] = monotonicMs() - sentAtMs
      statuses[status] = (statuses[status] ?? 0) + 1
    }
  }
  await Promise.all(lanes.map(work))
  const endedAtMs = monotonicMs()
  durations.sort()
  const quantile = (share: number) => durations[Math.max(0, Math.ceil(share * count) - 1)] ?? 0
  return { startedAtMs, endedAtMs, statuses, p50Ms: quantile(0.5), p99Ms: quantile(0.99) }
}

answerQuestions({ post })
