/**
 * Opens sessions: TCP to an address that the guard has seen, TLS as the target's policy says, EHLO and login; and, where nothing
 * promised TLS, a second try in plaintext on a new connection when encrypting failed (RFC 7435 §3, the way of every MTA).
 */
import type { TransactionReport } from '@valija/core'
import {
  type ConnectFailure,
  connectTcp,
  connectTls,
  createTlsProfiles,
  type TlsProfiles,
  tlsOptionsFor,
} from './connect.ts'
import { isPublicAddress, type NetworkGuard } from './network-guard.ts'
import { NodemailerSession, type Opening } from './nodemailer-session.ts'
import { buildReport, failureVerdict, noTimings } from './report.ts'
import type { OpenSession, PhaseDeadlines, Session, SessionTarget } from './session.ts'
import { Transcript } from './transcript.ts'

type Opened =
  | { ok: true; session: Session }
  | { ok: false; report: TransactionReport; mayTryPlaintext: boolean }

/**
 * @param parts.guard judges every address that is not exempt
 */
export function createOpenSession(parts: { guard: NetworkGuard }): OpenSession {
  const profiles = createTlsProfiles()
  return async (target, deadlines) => {
    const opening: Opening = {
      transcript: new Transcript(),
      timingsMs: { dns: 0, connect: 0, tls: 0 },
    }
    const first = await openOnce(target, deadlines, { ...parts, profiles, opening, isPlaintextTry: false })
    if (first.ok || !first.mayTryPlaintext) return first
    return await openOnce(target, deadlines, { ...parts, profiles, opening, isPlaintextTry: true })
  }
}

async function openOnce(
  target: SessionTarget,
  deadlines: PhaseDeadlines,
  parts: { guard: NetworkGuard; profiles: TlsProfiles; opening: Opening; isPlaintextTry: boolean },
): Promise<Opened> {
  const { guard, profiles, opening, isPlaintextTry } = parts
  const startedAt = performance.now()
  const connected = await connectTcp(target, guard, deadlines.connectMs)
  if (!connected.ok) return failed(target, opening, connected)
  const { remoteAddress, localAddress } = connected.socket
  const endpoint = {
    host: target.host,
    ip: remoteAddress ?? '',
    port: target.port,
    sourceIp: localAddress ?? null,
  }
  const tlsOptions = tlsOptionsFor(target, profiles)
  opening.timingsMs.dns += connected.dnsMs
  opening.timingsMs.connect += performance.now() - startedAt - connected.dnsMs
  let socket = connected.socket
  if (target.secure) {
    const handshakeAt = performance.now()
    const secured = await connectTls(socket, target.host, tlsOptions, deadlines.tlsMs)
    if (!secured.ok) return failed(target, opening, secured, endpoint)
    socket = secured.socket
    opening.timingsMs.tls += performance.now() - handshakeAt
  }
  const session = new NodemailerSession(socket, {
    target,
    endpoint,
    deadlines,
    opening,
    tlsOptions,
    isPlaintextTry,
  })
  const verdict = await session.start(!isPublicAddress(endpoint.ip))
  if (verdict === null) return { ok: true, session }
  const isTlsTrouble = verdict.phase === 'tls' && !session.isInjected
  const mayTryPlaintext = isTlsTrouble && target.tls === 'opportunistic' && !target.secure && !isPlaintextTry
  return { ok: false, report: session.reportOpening(verdict), mayTryPlaintext }
}

function failed(
  target: SessionTarget,
  opening: Opening,
  failure: ConnectFailure,
  endpoint?: { ip: string; sourceIp: string | null },
): Opened {
  const report = buildReport(
    {
      route: target.route,
      host: target.host,
      ip: endpoint?.ip ?? target.ip ?? null,
      port: target.port,
      sourceIp: endpoint?.sourceIp ?? null,
      tls: null,
      timingsMs: { ...noTimings, ...opening.timingsMs },
      transcript: opening.transcript,
      sizeBytes: null,
    },
    failureVerdict(failure.phase, failure.failure, failure.detail),
  )
  return { ok: false, report, mayTryPlaintext: false }
}
