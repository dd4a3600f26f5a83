/**
 * TLS below a session: with which settings the handshake is done, what it came to, and whether that is what the target demands.
 *
 * Every handshake goes through whatever the certificate, and is judged afterwards in one place, before anything but EHLO is said:
 * so the attempt's record can tell what was wrong with a certificate also where nobody demanded a good one.
 *
 * Sessions are not resumed: measured here, a resumed handshake saves 15 % of the processor time of a full one and no round trip
 * (TLS 1.3), a connection carries many mails, and a session kept from a weaker demand can never stand in for a stronger one.
 */
import type { X509Certificate } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import type { TlsFacts } from '@valija/core'
import { type ConnectFailure, fail } from './connect.ts'
import type { SessionTarget } from './session.ts'
import { matchesTlsa } from './tls-policy/dane.ts'

/** Settings by demand. Contexts are costly (they hold the trusted authorities): one of each is kept, from its first use on. */
export interface TlsProfiles {
  contextFor(target: SessionTarget): tls.SecureContext
}

/** Smarthosts with an authority of their own, whose contexts are kept at a time. */
const maxOwnContexts = 20

export function createTlsProfiles(): TlsProfiles {
  let verified: tls.SecureContext | undefined
  let anyhow: tls.SecureContext | undefined
  const own = new Map<string, tls.SecureContext>()
  return {
    contextFor({ ca, tls: demand }) {
      if (!ca && (demand === 'required' || demand === 'dane')) {
        verified ??= tls.createSecureContext({ minVersion: 'TLSv1.2' })
        return verified
      }
      if (!ca) {
        // Any encryption is better than none (RFC 7435): old versions and small keys are taken.
        anyhow ??= tls.createSecureContext({ minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' })
        return anyhow
      }
      const known = own.get(ca)
      if (known !== undefined) return known
      const context = tls.createSecureContext({ ca: [...tls.rootCertificates, ca], minVersion: 'TLSv1.2' })
      if (own.size >= maxOwnContexts) own.clear()
      own.set(ca, context)
      return context
    },
  }
}

/** What the handshake is done with, for TLS from the first byte and for STARTTLS alike. */
export function tlsOptionsFor(target: SessionTarget, profiles: TlsProfiles): tls.ConnectionOptions {
  const names = namesOf(target)
  return {
    rejectUnauthorized: false,
    secureContext: profiles.contextFor(target),
    checkServerIdentity: (_, certificate) => findNameFault(names, certificate),
    // RFC 7672 §8.1 and RFC 8461 §4.1: the host's name, never the mail domain's.
    ...(net.isIP(target.host) === 0 ? { servername: target.host } : {}),
  }
}

type Secured = { ok: true; socket: tls.TLSSocket }

/** The handshake over an open connection (RFC 8314 §3.3, RFC 3207 §4). */
export function connectTls(
  socket: net.Socket,
  host: string,
  options: tls.ConnectionOptions,
  timeoutMs: number,
): Promise<Secured | ConnectFailure> {
  const { promise, resolve } = Promise.withResolvers<Secured | ConnectFailure>()
  const secured = tls.connect({ ...options, socket, host })
  const settle = (result: Secured | ConnectFailure) => {
    clearTimeout(timer)
    secured.removeListener('error', onError).removeListener('close', onClose)
    if (!result.ok) {
      secured.on('error', () => {}).destroy()
      socket.on('error', () => {}).destroy()
    }
    resolve(result)
  }
  const onError = (error: Error) => settle(fail('tls', 'tls', `the TLS handshake failed: ${reasonOf(error)}`))
  const onClose = () => settle(fail('tls', 'tls', 'the connection was closed during the TLS handshake'))
  const timer = setTimeout(
    () => settle(fail('tls', 'timeout', `no TLS handshake within ${Math.round(timeoutMs)} ms`)),
    timeoutMs,
  )
  secured.once('secureConnect', () => settle({ ok: true, socket: secured }))
  secured.once('error', onError).once('close', onClose)
  return promise
}

/** The library's own words, without the place in its source that the message gives. */
export function reasonOf(error: Error & { reason?: string }): string {
  return error.reason ?? error.message.trim()
}

/** What a connection's encryption is, and what it lacks of what the target demands. */
export interface TlsVerdict {
  /** For the attempt's record; null for a plain connection. */
  facts: TlsFacts | null
  /** Why nothing may be sent on it, as a sentence; null when mail may go. */
  obstacle: string | null
}

/** Judges a connection on which the opening is over: encrypted by now, or never. */
export function judgeTls(socket: net.Socket, target: SessionTarget): TlsVerdict {
  if (!(socket instanceof tls.TLSSocket)) {
    const isDemanded = target.tls !== 'opportunistic' && target.tls !== 'off'
    return {
      facts: null,
      obstacle: isDemanded ? 'TLS is demanded, and the peer does not offer STARTTLS' : null,
    }
  }
  const fault = target.tls === 'dane' ? findDaneFault(socket, target) : findPkixFault(socket, target)
  const isVerifying = target.tls === 'required' || target.tls === 'dane'
  return {
    facts: {
      version: socket.getProtocol() ?? 'unknown',
      cipher: socket.getCipher().name,
      verified: fault === null,
      policy: target.tlsPolicy ?? policyOf(target),
      detail: fault,
    },
    obstacle: isVerifying ? fault : null,
  }
}

function policyOf({ secure, tls: demand }: SessionTarget): TlsFacts['policy'] {
  if (secure) return 'implicit'
  return demand === 'off' ? 'opportunistic' : demand
}

function namesOf(target: SessionTarget): readonly string[] {
  return target.tlsNames ?? [target.host]
}

/** One of the names is enough (RFC 7672 §3.2.2, RFC 8461 §4.1). */
function findNameFault(names: readonly string[], certificate: tls.PeerCertificate): Error | undefined {
  let fault: Error | undefined
  for (const name of names) {
    fault = tls.checkServerIdentity(name, certificate)
    if (fault === undefined) return undefined
  }
  return fault ?? new Error('no name was given that the certificate could bear')
}

const sentences: Record<string, string> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate was issued by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'the issuer of the certificate is not known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the issuer of the certificate is not known',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the issuer of the certificate is not known',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate was revoked',
}

/** Why the certificate is not valid for one of the names by the public authorities; null when it is. */
function findPkixFault(socket: tls.TLSSocket, target: SessionTarget): string | null {
  if (socket.authorized) return null
  const error: unknown = socket.authorizationError
  const code = error instanceof Error ? error.message : String(error ?? 'not verified')
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate is not for ${namesOf(target).join(' or ')} (${code})`
  }
  return `${sentences[code] ?? 'the certificate could not be verified'} (${code})`
}

function findDaneFault(socket: tls.TLSSocket, target: SessionTarget): string | null {
  const match = matchesTlsa(chainOf(socket), target.tlsa ?? [], namesOf(target))
  return match.ok ? null : match.detail
}

/** The peer's own certificate first, then each one's issuer as far as they go. */
function chainOf(socket: tls.TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && chain.length < 10) {
    const { fingerprint256 } = next
    if (chain.some((known) => known.fingerprint256 === fingerprint256)) break
    chain.push(next)
    next = next.issuerCertificate
  }
  return chain
}
