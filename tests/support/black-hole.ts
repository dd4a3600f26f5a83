/**
 * An address where packets vanish: the kernel answers no further SYN, because the listener's queue is full and whoever should
 * empty it is stopped. What a firewall that drops does to a client, without one.
 */
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { REPOSITORY, startProcess } from './processes.ts'

const LISTENER = `
const [host, port] = process.argv.slice(1)
require('node:net').createServer().listen({ host, port: Number(port), backlog: 1 }, () => console.log('listening'))
`

/** A connection that is still being made after this long is not made at all. */
const PATIENCE_MS = 500

export async function startBlackHole(host: string, port: number): Promise<{ stop: () => Promise<void> }> {
  const listener = startProcess(process.execPath, ['--eval', LISTENER, host, `${port}`], { cwd: REPOSITORY })
  const fillers: net.Socket[] = []
  const stop = async () => {
    for (const socket of fillers) socket.destroy()
    await listener.kill()
  }
  try {
    await listener.line('listening')
    listener.pause()
    await fill(host, port, fillers)
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }
}

/** Connects until that is no longer possible. */
async function fill(host: string, port: number, fillers: net.Socket[]): Promise<void> {
  for (let isFull = false; !isFull; ) {
    if (fillers.length > 20) throw new Error(`${host} takes ever more connections`)
    const socket = net.connect({ host, port })
    fillers.push(socket.on('error', () => undefined))
    const isMade = new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true)))
    if (await Promise.race([isMade, delay(PATIENCE_MS, false)])) continue
    // This process may have had no turn for as long: what was made meanwhile is told after the timers.
    await new Promise<void>((resolve) => setImmediate(resolve))
    isFull = socket.connecting
  }
}
