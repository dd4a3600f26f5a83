/**
 * A TCP proxy before a server on loopback whose connections can go half-open: both sides stay connected, and no octet passes
 * any more, as after a firewall forgot them or the other host lost its power. New connections are as before.
 */
import net from 'node:net'
import { freePort } from './ports.ts'

export type HalfOpenProxy = {
  port: number
  /** Every present connection goes mute, for good. */
  forget: () => void
  /** Connections that octets pass on. */
  readonly alive: number
  stop: () => Promise<void>
}

export async function startHalfOpenProxy(targetPort: number): Promise<HalfOpenProxy> {
  const port = await freePort()
  const alive = new Set<{ mute: () => void }>()
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true }, (client) => {
    const target = net.connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    const link = {
      mute: () => {
        client.unpipe(target)
        target.unpipe(client)
        // What the product still says has to go somewhere, or it would notice by its full buffer.
        client.resume()
        target.destroy()
        alive.delete(link)
      },
    }
    alive.add(link)
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        if (alive.delete(link)) for (const end of [client, target]) end.destroy()
      })
    }
    client.pipe(target)
    target.pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    port,
    forget: () => {
      for (const link of [...alive]) link.mute()
    },
    get alive() {
      return alive.size
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
