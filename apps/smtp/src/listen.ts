/** Opens the port of a listener. */
import type { SMTPServer } from 'smtp-server'

export interface Place {
  host: string
  port: number
  /** Any free one, where that is taken. */
  takesAnyPort: boolean
}

/**
 * @returns the port that it has
 * @throws {Error} when the port cannot be had
 */
export async function listen(server: SMTPServer, { host, port, takesAnyPort }: Place): Promise<number> {
  try {
    return await tryListen(server, host, port)
  } catch (error) {
    if (!takesAnyPort || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return tryListen(server, host, 0)
  }
}

function tryListen(server: SMTPServer, host: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.once('error', reject)
  server.listen(port, host, () => {
    server.removeListener('error', reject)
    const address = server.server.address()
    resolve(typeof address === 'object' && address !== null ? address.port : port)
  })
  return promise
}
