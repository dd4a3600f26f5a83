/**
 * A redis-server of the test's own: on a free port, in a temporary folder, set as the documentation tells operators to.
 * Several of them under sentinels, or as a cluster: redis-topologies.ts.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { freePort } from './ports.ts'
import { type Running, startProcess } from './processes.ts'

export type TestRedis = {
  url: string
  port: number
  /** SIGTERM: writes what it has. The data stays for `restart`. */
  stop: () => Promise<void>
  /** SIGKILL. The data that reached the append-only file stays. */
  kill: () => Promise<void>
  /** Starts it again on the same port with the same data; or with none, as if it kept no file. */
  restart: (how?: { empty: boolean }) => Promise<void>
  /** SIGSTOP and SIGCONT: connected, and mute. */
  pause: () => void
  resume: () => void
  /** All data gone at once, as by a careless operator. */
  flushall: () => Promise<void>
  /** One command in Redis' inline form; resolves with the reply, an array one element a line, an error with its `-`. */
  command: (line: string) => Promise<string>
  /** Ends it and removes its folder. */
  remove: () => Promise<void>
}

/** One server. */
export type SingleRedis = TestRedis & {
  /** Resolves when the server that runs now has ended, asked to or not. */
  ended: () => Promise<{ code: number | null; signal: NodeJS.Signals | null; lines: string[] }>
}

/** The elements of the first reply in `text`; null while it is not whole. */
function readReply(text: string): string[] | null {
  const lines = text.split('\r\n')
  if (lines.length < 2) return null
  const [first = ''] = lines
  if (first.startsWith('$')) {
    const length = Number(first.slice(1))
    if (length < 0) return ['']
    const start = first.length + 2
    return text.length < start + length + 2 ? null : [text.slice(start, start + length)]
  }
  if (!first.startsWith('*')) return [first.replace(/^[+:]/, '')]
  const elements: string[] = []
  let rest = text.slice(first.length + 2)
  for (let left = Number(first.slice(1)); left > 0; left--) {
    const element = readReply(rest)
    if (!element) return null
    elements.push(...element)
    rest = rest.slice(
      rest.startsWith('$') ? rest.indexOf('\r\n') + 4 + element.join('').length : rest.indexOf('\r\n') + 2,
    )
  }
  return elements
}

/** Inline commands need no client: one line there, one reply back. Only ASCII, which is all that tests ask for. */
function inline(port: number, line: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const socket = net.connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`))
  socket.on('data', (part) => {
    text += part.toString('latin1')
    const reply = readReply(text)
    if (reply === null) return
    resolve(reply.join('\n'))
    socket.destroy()
  })
  socket.once('error', reject)
  socket.once('close', () => reject(new Error(`redis ended the connection at ${line}`)))
  return promise
}

/** Asks whoever speaks Redis' protocol at a port. */
export const commandAt =
  (port: number) =>
  (line: string): Promise<string> =>
    inline(port, line)

/** A command that must not fail. */
export async function mustReply(
  server: Pick<TestRedis, 'command'>,
  line: string,
  reply = 'OK',
): Promise<void> {
  const text = await server.command(line)
  if (text !== reply) throw new Error(`${line}: ${text}`)
}

/**
 * Starts redis-server; ask `needsProgram('redis-server')` first.
 *
 * @param settings further lines of its configuration
 */
export async function startRedis(settings: readonly string[] = []): Promise<SingleRedis> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-redis-'))
  const port = await freePort()
  // noeviction: a queue whose keys are evicted loses jobs (BullMQ warns of any other policy)
  const usual = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    'appendonly yes',
    'save ""',
    'maxmemory-policy noeviction',
  ]
  // In a file, where a sentinel writes which server is the master's, so that a restart does not forget it.
  const file = path.join(folder, 'redis.conf')
  await writeFile(file, `${[...usual, ...settings].join('\n')}\n`)
  const start = async (): Promise<Running> => {
    const server = startProcess('redis-server', [file])
    await server.line('Ready to accept connections')
    return server
  }
  let server = await start()
  const command = commandAt(port)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: async () => void (await server.stop()),
    kill: () => server.kill(),
    restart: async ({ empty } = { empty: false }) => {
      await server.kill()
      if (empty) await rm(path.join(folder, 'appendonlydir'), { recursive: true, force: true })
      server = await start()
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    flushall: () => mustReply({ command }, 'FLUSHALL'),
    command,
    remove: async () => {
      await server.kill()
      await rm(folder, { recursive: true, force: true })
    },
    ended: async () => {
      const { ended, lines } = server
      return { ...(await ended), lines }
    },
  }
}
