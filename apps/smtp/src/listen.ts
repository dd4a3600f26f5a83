/** A listener's server, and its port. */
import { createRequire } from 'node:module'
import type { SMTPServer, SMTPServerOptions } from 'smtp-server'

export interface Place {
  host: string
  port: number
  /** Any free one, where that is taken. */
  takesAnyPort: boolean
}

/** By `require`: whoever imports smtp-server by `import` loads all of Node's `fetch` with it, 0.03 s at the start of each process. */
const smtpServer: typeof import('smtp-server') = createRequire(import.meta.url)('smtp-server')

export function createSmtpServer(options: SMTPServerOptions): SMTPServer {
  return new smtpServer.SMTPServer(options)
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
