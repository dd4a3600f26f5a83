/**
 * The load: posts mails over HTTP/1.1 on kept connections, one request at a time on each. Either as fast as answers come (a
 * closed loop), or at fixed times whether answers come or not (an open load): then a duration begins when its request was due,
 * so that a slow answer also counts for those that had to wait behind it (no coordinated omission). A client of its own on bare
 * sockets, because a real one costs more than the server that is measured, and both share the cores.
 *
 *   node bench/load.ts      (started by stage.ts; asked over IPC)
 */
import net from 'node:net'
import { createBodyWriter, type MailShape } from './mails.ts'
import { answerQuestions, monotonicMs } from './program.ts'
import { type Quantiles, quantiles } from './quantiles.ts'

export interface LoadInput {
  port: number
  /** One for each tenant; empty: the server asks for none. */
  apiKeys: string[]
  shape: MailShape
  /** Numbers of the mails: `first` to `first + count - 1`. */
  first: number
  count: number
  connections: number
  /** Requests per second of an open load; null: a closed loop. */
  perS: number | null
}

export interface LoadResult {
  /** When the first request was written or due, and the last answer read, by the monotonic clock. */
  startedAtMs: number
  endedAtMs: number
  /** Answers by HTTP status. */
  statuses: Record<string, number>
  /** From a request's writing, or when it was due in an open load, to its answer. */
  answer: Quantiles
  /** When each answer was read, by the monotonic clock. */
  answeredAtMs: Float64Array
}

interface Lane {
  /** False: the server has closed it, as it does with one that is idle for long. */
  readonly isOpen: boolean
  post(head: string, body: Buffer): Promise<number>
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
    get isOpen() {
      return socket.readyState === 'open'
    },
    post: (head, body) => {
      waiting = Promise.withResolvers<number>()
      if (socket.readyState !== 'open') fail()
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

async function post(input: LoadInput): Promise<LoadResult> {
  const { port, first, count, connections, perS } = input
  if (port !== lanesPort || lanes.length !== connections || !lanes.every((lane) => lane.isOpen)) {
    for (const lane of lanes) lane.close()
    lanes = await Promise.all(Array.from({ length: connections }, () => openLane(port)))
    lanesPort = port
  }
  const writeBody = createBodyWriter(input.shape)
  const heads = headsOf(input)
  const statuses: Record<string, number> = {}
  const durations = new Float64Array(count)
  const answeredAtMs = new Float64Array(count)
  /** Posts one and enters its answer; its duration counts from `fromMs`. */
  const send: Send = async (lane, index, fromMs) => {
    const number = first + index
    const status = await lane.post(heads[number % heads.length] ?? '', writeBody(number))
    answeredAtMs[index] = monotonicMs()
    durations[index] = answeredAtMs[index] - fromMs
    statuses[status] = (statuses[status] ?? 0) + 1
  }
  const startedAtMs = monotonicMs()
  if (perS === null) await runClosed(lanes, count, send)
  else await runOpen(lanes, count, (index) => startedAtMs + (index * 1000) / perS, send)
  return { startedAtMs, endedAtMs: monotonicMs(), statuses, answer: quantiles(durations), answeredAtMs }
}

type Send = (lane: Lane, index: number, fromMs: number) => Promise<void>

/** What POST /send/batch takes at once where many are to wait: little enough that the API holds no more than with single ones. */
const batchSize = 25
/** Connections that batches are posted on. */
const batchLanes = 8

export type FillInput = Pick<LoadInput, 'port' | 'apiKeys' | 'shape' | 'first' | 'count'>

/** Posts mails as batches, as fast as answers come; each batch is of one tenant. */
async function fill(input: FillInput): Promise<void> {
  const { port, shape, first, count } = input
  const writeBody = createBodyWriter(shape)
  const heads = headsOf(input, '/send/batch')
  const batches = batchesOf(first, count, heads.length)
  const own = await Promise.all(Array.from({ length: batchLanes }, () => openLane(port)))
  const work = async (lane: Lane) => {
    for (const numbers of batches) {
      const texts = numbers.flatMap((number, index) => [
        index === 0 ? '{"messages":[' : ',',
        writeBody(number),
      ])
      const body = Buffer.concat([...texts, ']}'].map((part) => Buffer.from(part)))
      const status = await lane.post(heads[numbers[0]! % heads.length] ?? '', body)
      if (status !== 202) throw new Error(`a batch was answered ${status}`)
    }
  }
  await Promise.all(own.map(work))
  for (const lane of own) lane.close()
}

/** Numbers that have the same rest by `tenants`, some at a time, in the order of their first ones. */
function* batchesOf(first: number, count: number, tenants: number): Generator<number[]> {
  for (let at = 0; at < count; at += batchSize * tenants) {
    for (let tenant = 0; tenant < tenants; tenant++) {
      const numbers = Array.from({ length: batchSize }, (_, index) => at + tenant + index * tenants)
      const own = numbers.filter((number) => number < count).map((number) => first + number)
      if (own.length > 0) yield own
    }
  }
}

/** Heads of requests, by tenant. */
function headsOf({ port, apiKeys }: Pick<LoadInput, 'port' | 'apiKeys'>, route = '/send'): string[] {
  const authorizations =
    apiKeys.length === 0 ? [''] : apiKeys.map((key) => `Authorization: Bearer ${key}\r\n`)
  return authorizations.map(
    (line) =>
      `POST ${route} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${line}Content-Type: application/json\r\n`,
  )
}

async function runClosed(all: Lane[], count: number, send: Send): Promise<void> {
  let next = 0
  const work = async (lane: Lane) => {
    while (next < count) await send(lane, next++, monotonicMs())
  }
  await Promise.all(all.map(work))
}

/** What is due goes out on a connection that waits for nothing, or as soon as there is one. Looks every millisecond. */
async function runOpen(
  all: Lane[],
  count: number,
  dueAtMs: (index: number) => number,
  send: Send,
): Promise<void> {
  const free = [...all]
  const finished = Promise.withResolvers<void>()
  let [next, answered] = [0, 0]
  const serve = async (lane: Lane) => {
    while (next < count && dueAtMs(next) <= monotonicMs()) {
      const index = next++
      await send(lane, index, dueAtMs(index))
      answered += 1
    }
    free.push(lane)
    if (answered === count) finished.resolve()
  }
  const look = () => {
    while (free.length > 0 && next < count && dueAtMs(next) <= monotonicMs()) {
      serve(free.pop()!).catch(finished.reject)
    }
    if (next < count) setTimeout(look, 1)
  }
  look()
  await finished.promise
}

answerQuestions({ post, fill })
