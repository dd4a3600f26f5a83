/**
 * Where a password may be sent: over TLS to the verified name, inside a private network, or where the operator switched TLS off
 * on purpose. Not to whoever stripped STARTTLS from a public relay's offer, or answers in its place.
 */
import type { TlsFacts } from '@valija/core'
import { failureVerdict, type Verdict } from './report.ts'

/** @returns null when the login may be sent */
export function findLoginObstacle(connection: {
  /** The peer offers AUTH. */
  isOffered: boolean
  /** The peer's address is not a public one. */
  isPrivatePeer: boolean
  isTlsOff: boolean
  /** Null on a plaintext connection. */
  tls: TlsFacts | null
}): Verdict | null {
  const { isOffered, isPrivatePeer, isTlsOff, tls } = connection
  if (!isOffered) return failureVerdict('auth', 'login_refused', 'the peer does not offer AUTH')
  if (tls?.verified || isPrivatePeer || isTlsOff) return null
  const why = tls === null ? 'the connection is not encrypted' : tls.detail
  return failureVerdict('auth', 'tls', `the login is not sent without verified TLS: ${why}`)
}
