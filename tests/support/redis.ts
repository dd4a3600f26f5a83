/** A redis-server of the test's own: on a free port, in a temporary folder, set as the documentation tells operators to. */
import { mkdtemp, rm } from 'node:fs/promises'
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
  /** Starts it again on the same port with the same data. */
  restart: () => Promise<void>
  /** SIGSTOP and SIGCONT: connected, and mute. */
  pause: () => void
  resume: () => void
  /** All data gone at once, as by a careless operator. */
  flushall: () => Promise<void>
  /** One command in Redis' inline form; resolves with the first line of the reply. */
  command: (line: string) => Promise<string>
  /** Ends it and removes its folder. */
  remove: () => Promise<void>
}

/** Inline commands need no client: one line there, one line back. */
function inline(port: number, line: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = net.connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`))
  socket.once('data', (reply) => {
    resolve(reply.toString('utf8').split('\r\n')[0] ?? '')
    socket.destroy()
  })
  socket.once('error', reject)
  return promise
}

/** Starts redis-server; ask `needsProgram('redis-server')` first. */
export async function startRedis(): Promise<TestRedis> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-redis-'))
  const port = await freePort()
  // noeviction: a queue whose keys are evicted loses jobs (BullMQ warns of any other policy)
  const flags = [
    '--port',
    `${port}`,
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--appendonly',
    'yes',
    '--maxmemory-policy',
    'noeviction',
    '--save',
    '',
  ]
  const start = async (): Promise<Running> => {
    const server = startProcess('redis-server', flags)
    await server.line('Ready to accept connections')
    return server
  }
  let server = await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: async () => void (await server.stop()),
    kill: () => server.kill(),
    restart: async () => {
      await server.kill()
      server = await start()
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    flushall: async () => {
      const reply = await inline(port, 'FLUSHALL')
      if (reply !== '+OK') throw new Error(`FLUSHALL: ${reply}`)
    },
    command: (line) => inline(port, line),
    remove: async () => {
      await server.kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
