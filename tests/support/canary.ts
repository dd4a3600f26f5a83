/** Listeners that nobody may come to: each connection, even one that says nothing, is remembered. */
import { once } from 'node:events'
import net from 'node:net'

export type Canaries = {
  addresses: string[]
  /** `address` of each connection so far. */
  visits: string[]
  stop: () => Promise<void>
}

/** One listener on each address, all on this port. */
export async function startCanaries(addresses: readonly string[], port: number): Promise<Canaries> {
  const visits: string[] = []
  const servers = await Promise.all(
    addresses.map(async (address) => {
      const server = net.createServer((socket) => {
        visits.push(address)
        socket.on('error', () => undefined).destroy()
      })
      server.listen({ host: address, port, ipv6Only: net.isIPv6(address) })
      await once(server, 'listening')
      return server
    }),
  )
  return {
    addresses: [...addresses],
    visits,
    stop: async () => {
      for (const server of servers) await new Promise((resolve) => server.close(resolve))
    },
  }
}
