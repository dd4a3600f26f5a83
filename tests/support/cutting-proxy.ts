/**
 * A TCP proxy before a server on loopback that can cut: at a moment, or as soon as the server has said something.
 */
import net from 'node:net'
import { freePort } from './ports.ts'

export interface CuttingProxy {
  port: number
  /** Cuts every connection at once. */
  cut: () => void
  /** Cuts each connection once it has carried a text from the server (plaintext only); null: no more. */
  cutAfter: (text: string | null) => void
  /** Cuts each connection when the client says something that holds this, before the server hears it. */
  cutBefore: (text: string | null) => void
  /** Keeps back what the client says that holds this, and all after it, the connections staying as they are; resolves when that has happened. */
  holdBefore: (text: string) => Promise<void>
  stop: () => Promise<void>
}

export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const port = await freePort()
  const sockets = new Set<net.Socket>()
  let after: string | null = null
  let before: string | null = null
  let held: string | null = null
  let onHeld = () => {}
  const server = net.createServer({ noDelay: true }, (client) => {
    const target = net.connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    const cut = () => {
      client.destroy()
      target.destroy()
    }
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        cut()
      })
    }
    target.on('data', (chunk: Buffer) => {
      if (after === null || !chunk.includes(after)) return client.write(chunk)
      // What came until then arrives, so that it is the middle that is cut.
      client.write(chunk.subarray(0, chunk.indexOf(after) + after.length), cut)
    })
    client.on('data', (chunk: Buffer) => {
      if (before !== null && chunk.includes(before)) cut()
      else if (held !== null && chunk.includes(held)) {
        client.removeAllListeners('data').resume()
        onHeld()
      } else target.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port,
    cut,
    cutAfter: (text) => {
      after = text
    },
    cutBefore: (text) => {
      before = text
    },
    holdBefore: (text) => {
      held = text
      const { promise, resolve } = Promise.withResolvers<void>()
      onHeld = () => {
        held = null
        resolve()
      }
      return promise
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      cut()
      await closed
    },
  }
}
