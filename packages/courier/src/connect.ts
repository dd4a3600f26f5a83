/**
 * TCP and TLS below a session: one connection attempt with a total deadline, to an address that the guard has seen.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { TlsFacts, TransportFailure } from '@valija/core'
import { guardLookup, type NetworkGuard } from './network-guard.ts'
import type { SessionTarget } from './session.ts'

export interface ConnectFailure {
  ok: false
  phase: 'dns' | 'connect' | 'tls'
  failure: TransportFailure
  detail: string
}

/** Where a connection went, as the report says it. */
export interface Endpoint {
  host: string
  ip: string
  port: number
  sourceIp: string | null
}

type Connected = { ok: true; socket: net.Socket; dnsMs: number }

/** Everything that is exempt from the guard goes through one that refuses nothing. */
const openGuard: NetworkGuard = { isAllowed: () => true }

/**
 * Opens the TCP connection. The address is judged before the first packet: a literal here, a name in its lookup.
 *
 * @param timeoutMs for lookup and handshake together
 */
export function connectTcp(
  target: SessionTarget,
  guard: NetworkGuard,
  timeoutMs: number,
): Promise<Connected | ConnectFailure> {
  const judge = target.isExemptFromGuard ? openGuard : guard
  const host = target.ip ?? target.host
  if (net.isIP(host) !== 0 && !judge.isAllowed(host)) {
    return Promise.resolve(fail('connect', 'address_refused', `the address ${host} is private or reserved`))
  }
  const startedAt = performance.now()
  const { promise, resolve } = Promise.withResolvers<Connected | ConnectFailure>()
  const socket = net.connect({
    host,
    port: target.port,
    lookup: guardLookup(judge),
    ...(target.localAddress === null ? {} : { localAddress: target.localAddress }),
  })
  let dnsMs = 0
  const settle = (result: Connected | ConnectFailure) => {
    clearTimeout(timer)
    socket.removeListener('error', onError)
    if (!result.ok) socket.on('error', () => {}).destroy()
    resolve(result)
  }
  const onError = (error: NodeJS.ErrnoException) => settle(failOf(error))
  const timer = setTimeout(
    () => settle(fail('connect', 'connection_timeout', `no connection within ${timeoutMs} ms`)),
    timeoutMs,
  )
  socket.once('lookup', () => {
    dnsMs = performance.now() - startedAt
  })
  socket.once('connect', () => settle({ ok: true, socket, dnsMs }))
  socket.once('error', onError)
  return promise
}

/** Settings of one handshake by policy. Contexts are costly (they read the trusted authorities): one of each is kept. */
export interface TlsProfiles {
  verified: tls.SecureContext
  opportunistic: tls.SecureContext
}

export function createTlsProfiles(): TlsProfiles {
  return {
    verified: tls.createSecureContext({ minVersion: 'TLSv1.2' }),
    // Any encryption is better than the plaintext that comes next (RFC 7435): old versions and small keys are taken.
    opportunistic: tls.createSecureContext({ minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' }),
  }
}

/** What the handshake is done with, for TLS from the first byte and for STARTTLS alike. */
export function tlsOptionsFor(target: SessionTarget, profiles: TlsProfiles): tls.ConnectionOptions {
  const isVerified = target.tls === 'required'
  const secureContext = target.ca
    ? tls.createSecureContext({ ca: [...tls.rootCertificates, target.ca], minVersion: 'TLSv1.2' })
    : isVerified
      ? profiles.verified
      : profiles.opportunistic
  return {
    rejectUnauthorized: isVerified,
    secureContext,
    ...(net.isIP(target.host) === 0 ? { servername: target.host } : {}),
  }
}

/** The handshake of TLS from the first byte (RFC 8314 §3.3). */
export function connectTls(
  socket: net.Socket,
  host: string,
  options: tls.ConnectionOptions,
  timeoutMs: number,
): Promise<{ ok: true; socket: tls.TLSSocket } | ConnectFailure> {
  const { promise, resolve } = Promise.withResolvers<{ ok: true; socket: tls.TLSSocket } | ConnectFailure>()
  const secured = tls.connect({ ...options, socket, host })
  const settle = (result: { ok: true; socket: tls.TLSSocket } | ConnectFailure) => {
    clearTimeout(timer)
    secured.removeListener('error', onError).removeListener('close', onClose)
    if (!result.ok) {
      secured.on('error', () => {}).destroy()
      socket.on('error', () => {}).destroy()
    }
    resolve(result)
  }
  const onError = (error: Error) => settle(fail('tls', 'tls', `the TLS handshake failed: ${error.message}`))
  const onClose = () => settle(fail('tls', 'tls', 'the connection was closed during the TLS handshake'))
  const timer = setTimeout(
    () => settle(fail('tls', 'timeout', `no TLS handshake within ${timeoutMs} ms`)),
    timeoutMs,
  )
  secured.once('secureConnect', () => settle({ ok: true, socket: secured }))
  secured.once('error', onError).once('close', onClose)
  return promise
}

/** What the attempt's record says of an encrypted connection; null for a plain one. */
export function tlsFactsOf(socket: net.Socket, target: SessionTarget): TlsFacts | null {
  if (!(socket instanceof tls.TLSSocket)) return null
  const error: unknown = socket.authorizationError
  return {
    version: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    verified: socket.authorized,
    policy: target.secure ? 'implicit' : target.tls === 'required' ? 'required' : 'opportunistic',
    detail: socket.authorized
      ? null
      : error instanceof Error
        ? error.message
        : String(error ?? 'not verified'),
  }
}

const failureByCode: Record<string, TransportFailure> = {
  ECONNREFUSED: 'connection_refused',
  EHOSTUNREACH: 'connection_refused',
  ENETUNREACH: 'connection_refused',
  EADDRNOTAVAIL: 'connection_refused',
  ETIMEDOUT: 'connection_timeout',
  EADDRESSREFUSED: 'address_refused',
}

function failOf(error: NodeJS.ErrnoException): ConnectFailure {
  // Several addresses that all failed come as one error with the first one's code.
  const code = error.code ?? ''
  const detail = error.message || (error instanceof AggregateError ? String(error.errors[0]?.message) : code)
  // The system's lookup cannot tell "does not exist" from "cannot say now"; only the MX resolver can, and it hands us an address.
  // So this is never for good: a route whose name is mistyped must not cost its backlog.
  if (error.syscall === 'getaddrinfo' || code === 'ENOTFOUND') return fail('dns', 'name_unavailable', detail)
  return fail('connect', failureByCode[code] ?? 'connection_lost', detail)
}

function fail(phase: ConnectFailure['phase'], failure: TransportFailure, detail: string): ConnectFailure {
  return { ok: false, phase, failure, detail }
}
