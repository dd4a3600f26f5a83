/**
 * Why a port cannot be listened on, in one sentence for the operator.
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
