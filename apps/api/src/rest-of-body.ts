/**
 * What to do with the rest of a body whose request is refused already. Closing the connection while the client still writes makes
 * its system forget the answer (RFC 9112 section 9.6): most clients would see a broken connection instead of the 413. So the rest is read and
 * thrown away, for a while that nobody can draw out: a connection that brings something keeps a process from stopping.
 */
import type { IncomingMessage } from 'node:http'

const mostDiscardedOctets = 256 * 1024 * 1024
/** A 40 MiB mail comes in this at 32 Mbit/s. */
const discardedForMs = 10_000

/** @returns false when more is announced than is worth reading: then the connection is to be closed */
export function discardRest(request: IncomingMessage): boolean {
  if (Number(request.headers['content-length'] ?? 0) > mostDiscardedOctets) return false
  let left = mostDiscardedOctets
  const timer = setTimeout(() => request.destroy(), discardedForMs)
  request
    .on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) request.destroy()
    })
    .on('end', () => clearTimeout(timer))
    .on('close', () => clearTimeout(timer))
  return true
}
