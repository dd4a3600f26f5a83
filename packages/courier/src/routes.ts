/**
 * Where mail goes on the two routes that have a fixed peer: the local capture receiver, and an operator's smarthost.
 */
import type { SessionTarget } from './session.ts'

/** A relay that an operator or a tenant named. */
export interface Smarthost {
  host: string
  port: number
  /** TLS from the first byte. */
  secure: boolean
  auth: { user: string; pass: string } | null
  tls: 'opportunistic' | 'required' | 'off'
  /** Not the operator's word: it may not be at a private address. */
  isGuarded: boolean
}

/** The receiver that keeps mail instead of delivering it. It is our own, on loopback, and speaks plaintext. */
export function captureTarget(receiver: { host: string; port: number }, ehloName: string): SessionTarget {
  return {
    route: 'capture',
    host: receiver.host,
    port: receiver.port,
    secure: false,
    tls: 'off',
    auth: null,
    ehloName,
    localAddress: null,
    isExemptFromGuard: true,
  }
}

/** A smarthost. The session keeps the login back where no TLS protects it. */
export function smarthostTarget(
  { host, port, secure, auth, tls, isGuarded }: Smarthost,
  from: { route: string; ehloName: string; localAddress: string | null },
): SessionTarget {
  return { ...from, host, port, secure, auth, tls, isExemptFromGuard: !isGuarded }
}
