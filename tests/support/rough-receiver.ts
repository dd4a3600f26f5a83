/**
 * An endpoint that behaves as badly as it is told to, and remembers what it was told, whatever the amount: each request is checked by
 * the reference library of Standard Webhooks; bodies are not kept, but those of batches, to see whether they change.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { Webhook } from 'standardwebhooks'
import { freePort } from './ports.ts'

/**
 * `cut` says 200 and breaks off, which is a success; `close` says nothing; `stall` never answers; `drip` sends a header, octet by
 * octet, without end.
 */
export type Manners = 'take' | 500 | 503 | 'close' | 'cut' | 'stall' | 'drip'

export type RoughReceiver = {
  url: string
  /** `whsec_…`, to be set once it is known. */
  secret: string
  /** How the next request is met; `tries` counts those under this id, this one included. */
  manners: (id: string, tries: number) => Manners
  requests: number
  /** Ids of events that were answered with success, and for how long each had been waiting when it first came. */
  taken: Map<string, { atMs: number; lagMs: number }>
  /** When requests were held up, by a stall or a drip, until their connection ended; by this machine's clock. */
  heldUp: { fromMs: number; untilMs: number }[]
  /** Requests whose signature was wrong, and ids under which another body came than before. */
  unverified: string[]
  changed: string[]
  /** Nobody listens any more, until `rise`. */
  die: () => Promise<void>
  rise: () => Promise<void>
  stop: () => Promise<void>
}

type ToldEvent = { id: string; timestamp: string }

/** A number in [0, 1) that a text always gives. */
export function chanceOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32
}

function meet(response: http.ServerResponse, manners: Manners): void {
  if (manners === 'take') response.writeHead(204).end()
  else if (manners === 500) response.writeHead(500).end('out of order')
  else if (manners === 503) response.writeHead(503, { 'retry-after': '6' }).end()
  else if (manners === 'close') response.socket?.destroy()
  else if (manners === 'cut') {
    response.writeHead(200, { 'content-length': '1000' }).write('half of')
    setImmediate(() => response.socket?.destroy())
  } else if (manners === 'drip') {
    const { socket } = response
    socket?.write('HTTP/1.1 200 OK\r\nx-slow: ')
    const drip = setInterval(() => socket?.write('a'), 200)
    socket?.once('close', () => clearInterval(drip))
  }
}

/** Starts one on 127.0.0.1. */
export async function startRoughReceiver(): Promise<RoughReceiver> {
  const tries = new Map<string, number>()
  const bodies = new Map<string, string>()
  const handle = (request: http.IncomingMessage, response: http.ServerResponse, text: string) => {
    receiver.requests += 1
    const id = String(request.headers['webhook-id'])
    try {
      new Webhook(receiver.secret).verify(text, request.headers as Record<string, string>)
    } catch (error) {
      receiver.unverified.push(`${id}: ${(error as Error).message}`)
    }
    if (id.startsWith('whb_')) {
      if ((bodies.get(id) ?? text) !== text) receiver.changed.push(id)
      bodies.set(id, text)
    }
    tries.set(id, (tries.get(id) ?? 0) + 1)
    const manners = receiver.manners(id, tries.get(id) ?? 1)
    if (manners === 'take' || manners === 'cut') {
      const atMs = Date.now()
      for (const event of [JSON.parse(text)].flat() as ToldEvent[])
        if (!receiver.taken.has(event.id))
          receiver.taken.set(event.id, { atMs, lagMs: atMs - Date.parse(event.timestamp) })
    }
    if (manners === 'stall' || manners === 'drip') {
      const held = { fromMs: Date.now(), untilMs: Infinity }
      receiver.heldUp.push(held)
      response.socket?.once('close', () => {
        held.untilMs = Date.now()
      })
    }
    meet(response, manners)
  }
  const serve = () =>
    http.createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('error', () => undefined)
      request.on('end', () => handle(request, response, Buffer.concat(chunks).toString('utf8')))
    })
  // Not one that the system hands out: while nobody listens, it would give it to somebody else.
  const port = await freePort()
  let server = serve().listen(port, '127.0.0.1')
  await once(server, 'listening')
  const die = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  const receiver: RoughReceiver = {
    url: `http://127.0.0.1:${port}/`,
    secret: '',
    manners: () => 'take',
    requests: 0,
    taken: new Map(),
    heldUp: [],
    unverified: [],
    changed: [],
    die,
    rise: async () => {
      server = serve().listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    stop: die,
  }
  return receiver
}
