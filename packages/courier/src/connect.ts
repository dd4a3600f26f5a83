/**
 * TCP below a session: one connection attempt with a total deadline, to an address that the guard has seen.
 */
import net from 'node:net'
import type { TransportFailure } from '@valija/core'
import { guardLookup, type NetworkGuard, refusalText } from './network-guard.ts'
import { isWantOfSockets, noSocketText } from './no-socket.ts'
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

/** What a connection needs to know of a target. */
export type TcpTarget = Pick<SessionTarget, 'host' | 'ip' | 'port' | 'localAddress' | 'isExemptFromGuard'>

/** Everything that is exempt from the guard goes through one that refuses nothing. */
const openGuard: NetworkGuard = { isAllowed: () => true }

/**
 * A name with several addresses: each but the last gets this long before the next one is tried besides (RFC 8305 §5), so that
 * broken IPv6 costs a second. Node's own 250 ms would give up peers on the other side of the world.
 */
const attemptMs = 1_000

/**
 * Opens the TCP connection. The address is judged before the first packet: a literal here, a name in its lookup.
 *
 * @param timeoutMs for lookup and handshake together
 */
export function connectTcp(
  target: TcpTarget,
  guard: NetworkGuard,
  timeoutMs: number,
): Promise<Connected | ConnectFailure> {
  const judge = target.isExemptFromGuard ? openGuard : guard
  const host = target.ip ?? target.host
  if (net.isIP(host) !== 0 && !judge.isAllowed(host)) {
    return Promise.resolve(fail('connect', 'address_refused', refusalText(host)))
  }
  const family = net.isIP(target.localAddress ?? '')
  if (family !== 0 && net.isIP(host) !== 0 && net.isIP(host) !== family) {
    const detail = `the source address ${target.localAddress} cannot reach ${host}: one is IPv4, the other IPv6`
    return Promise.resolve(fail('connect', 'connection_refused', detail))
  }
  const startedAt = performance.now()
  const { promise, resolve } = Promise.withResolvers<Connected | ConnectFailure>()
  const socket = net.connect({
    host,
    port: target.port,
    noDelay: true,
    lookup: guardLookup(judge),
    autoSelectFamilyAttemptTimeout: attemptMs,
    ...(target.localAddress === null ? {} : { localAddress: target.localAddress, family }),
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
    () => settle(fail('connect', 'connection_timeout', `no connection within ${Math.round(timeoutMs)} ms`)),
    timeoutMs,
  )
  socket.once('lookup', () => {
    dnsMs = performance.now() - startedAt
  })
  socket.once('connect', () => settle({ ok: true, socket, dnsMs }))
  socket.once('error', onError)
  return promise
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
  const isInLookup = error.syscall === 'getaddrinfo' || code === 'ENOTFOUND'
  if (isWantOfSockets(error)) return fail(isInLookup ? 'dns' : 'connect', 'no_socket', noSocketText(detail))
  // The system's lookup cannot tell "does not exist" from "cannot say now"; only the MX resolver can, and it hands us an address.
  // So this is never for good: a route whose name is mistyped must not cost its backlog.
  if (isInLookup) return fail('dns', 'name_unavailable', detail)
  return fail('connect', failureByCode[code] ?? 'connection_lost', detail)
}

export function fail(
  phase: ConnectFailure['phase'],
  failure: TransportFailure,
  detail: string,
): ConnectFailure {
  return { ok: false, phase, failure, detail }
}
