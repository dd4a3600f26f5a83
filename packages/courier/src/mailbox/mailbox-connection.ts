/** The connection to a mail server whose name somebody else wrote: to an address that the guard has seen, with TLS that is verified. */
import net from 'node:net'
import tls from 'node:tls'
import type { MailboxTroubleCode, TransportFailure } from '@valija/core'
import { type ConnectFailure, connectTcp } from '../connect.ts'
import type { NetworkGuard } from '../network-guard.ts'
import { connectTls } from '../tls-demand.ts'
import { MailboxFailure, type MailboxTarget } from './mailbox.ts'

export interface MailboxConnection {
  /** What is spoken over: the TLS socket where TLS begins with the first byte. */
  socket: net.Socket
  /** What carries it, by whose count of octets a flood is seen. */
  raw: net.Socket
}

/**
 * @param timeoutMs for all of it
 * @throws {MailboxFailure} name_unavailable, address_refused, unreachable, tls_failed
 */
export async function connectMailbox(
  target: MailboxTarget,
  guard: NetworkGuard,
  timeoutMs: number,
): Promise<MailboxConnection> {
  const startedAt = performance.now()
  const { host, port } = target
  const connected = await connectTcp(
    { host, port, localAddress: null, isExemptFromGuard: false },
    guard,
    timeoutMs,
  )
  if (!connected.ok) throw failureOf(connected)
  const raw = connected.socket
  if (target.tls !== 'implicit') return { socket: raw, raw }
  const restMs = timeoutMs - (performance.now() - startedAt)
  return { socket: await secure(raw, target, Math.max(1, restMs)), raw }
}

/**
 * The handshake, over an open connection.
 *
 * @throws {MailboxFailure} tls_failed
 */
export async function secure(
  socket: net.Socket,
  target: MailboxTarget,
  timeoutMs: number,
): Promise<tls.TLSSocket> {
  const secured = await connectTls(socket, target.host, tlsOptionsFor(target), timeoutMs)
  if (!secured.ok) throw failureOf(secured)
  return secured.socket
}

/** An invalid certificate ends the handshake: a login must not get that far. */
export function tlsOptionsFor({ host, ca }: MailboxTarget): tls.ConnectionOptions {
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    ...(ca !== undefined && { ca: [...tls.getCACertificates('default'), ca] }),
    ...(net.isIP(host) === 0 && { servername: host }),
  }
}

const codeByFailure: Partial<Record<TransportFailure, MailboxTroubleCode>> = {
  name_unavailable: 'name_unavailable',
  no_socket: 'internal',
  address_refused: 'address_refused',
  tls: 'tls_failed',
}

function failureOf({ phase, failure, detail }: ConnectFailure): MailboxFailure {
  const code = codeByFailure[failure] ?? (phase === 'tls' ? 'tls_failed' : 'unreachable')
  return new MailboxFailure(code, detail)
}
