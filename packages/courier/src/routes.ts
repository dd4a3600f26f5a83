/**
 * Where mail goes on the two routes that have a fixed peer: the local capture receiver, and an operator's smarthost.
 */
import type { SessionTarget } from './session.ts'

/** An operator's relay, as `smtp[s]://user:pass@host:port` says it. */
export interface SmarthostConfig {
  /** `smtps`: TLS from the first byte. */
  secure: boolean
  host: string
  port: number
  user: string | null
  pass: string | null
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

/**
 * The smarthost. `smtps` means a verified certificate; plain `smtp` takes whatever encryption there is, and the session keeps the
 * login back where that is none that protects it. Exempt from the guard: the operator wrote its name.
 */
export function smarthostTarget(
  smarthost: SmarthostConfig,
  source: { ehloName: string; localAddress: string | null },
): SessionTarget {
  const { secure, host, port, user, pass } = smarthost
  return {
    route: 'smarthost',
    host,
    port,
    secure,
    tls: secure ? 'required' : 'opportunistic',
    auth: user === null ? null : { user, pass: pass ?? '' },
    ehloName: source.ehloName,
    localAddress: source.localAddress,
    isExemptFromGuard: true,
  }
}
