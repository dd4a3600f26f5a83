/** A redis-server of the benchmark's own. */
import { spawnSync } from 'node:child_process'
import net from 'node:net'
import { freePort } from '../tests/support/ports.ts'
import { type App, startLogged } from './logged-app.ts'

/** As the documentation tells operators to set it: nothing is evicted, and what is added is written to a file each second. */
export async function startRedis(folder: string): Promise<{ port: number; app: App }> {
  const port = await freePort()
  const settings = `--port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly yes --maxmemory-policy noeviction`
  const app = await startLogged({
    name: 'redis',
    command: 'redis-server',
    args: [...settings.split(' '), '--save', ''],
    env: {},
    folder,
    ready: /Ready to accept connections/,
  })
  return { port, app }
}

/** What a Redis says of itself: an inline command needs no client. */
export async function readRedisBytes(port: number): Promise<number> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  socket.end('INFO memory\r\nQUIT\r\n')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return Number(/^used_memory:(\d+)/m.exec(text)?.[1])
}

/** Null: not installed. */
export function redisVersion(): string | null {
  return (
    /v=(\S+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? null
  )
}
