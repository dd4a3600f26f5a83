/** Opens the port of a listener, and says in one sentence why that cannot be. */
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

/**
 * One sentence for the operator.
 *
 * @param what the listener, with its article
 * @param variable that names its port
 */
export function whyNotListening(
  { code, message }: NodeJS.ErrnoException,
  { what, variable, host, port }: { what: string; variable: string; host: string; port: number },
): string {
  if (code === 'EADDRINUSE')
    return `Port ${port} on ${host} is taken: stop the program that listens there, or set ${variable} to another one.`
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user: set ${variable} to one above 1023, or grant CAP_NET_BIND_SERVICE.`
  if (code === 'EADDRNOTAVAIL') return `This machine has no address ${host}: set HOST to one that it has.`
  return `${what} cannot listen on ${host} port ${port}: ${message}.`
}
