/**
 * Opens one session to one peer: TCP to an address that the guard has seen, TLS as the target demands, EHLO and login; and, where
 * nothing promised TLS, a second try in plaintext on a new connection when encrypting failed (RFC 7435 §3, the way of every MTA).
 */
import type { TransactionReport } from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import { type ConnectFailure, connectTcp } from './connect.ts'
import type { NetworkGuard } from './network-guard.ts'
import { NodemailerSession } from './nodemailer-session.ts'
import { buildReport, failureVerdict, noTimings, type OpeningFacts } from './report.ts'
import type { Opening, PhaseDeadlines, SessionTarget } from './session.ts'
import { SmtpSession } from './smtp-session.ts'
import { connectTls, type TlsProfiles, tlsOptionsFor } from './tls-demand.ts'

export interface OpeningParts {
  /** Judges every address that is not exempt. */
  guard: NetworkGuard
  profiles: TlsProfiles
  /** For comparison: our own session is used for no peer. */
  isNodemailerOnly: boolean
}

/** @param opening collects what is told of the attempt, also of a failed one */
export async function openSession(
  target: SessionTarget,
  deadlines: PhaseDeadlines,
  parts: OpeningParts,
  opening: OpeningFacts,
): Promise<Opening> {
  const openBy = performance.now() + deadlines.openMs
  const first = await openOnce(target, deadlines, parts, { opening, isPlaintextTry: false })
  const openMs = openBy - performance.now()
  if (first.ok || !first.mayTryPlaintext || openMs <= 0) return first
  opening.transcript.add('client', `${failureLine(first.report)}; again in plaintext`)
  return await openOnce(target, { ...deadlines, openMs }, parts, { opening, isPlaintextTry: true })
}

/** A failed opening on one line of the transcript: `-- mx1.example.com:25 (192.0.2.1): 554 5.7.1 blocked`. */
export function failureLine({ host, ip, port, reply, failure, detail }: TransactionReport): string {
  const where = ip === null || ip === host ? `${host}:${port}` : `${host}:${port} (${ip})`
  return `-- ${where}: ${reply === null ? `${failure}: ${detail}` : formatSmtpReply(reply)}`
}

type OpenedOnce = Opening & { mayTryPlaintext?: boolean }

async function openOnce(
  target: SessionTarget,
  deadlines: PhaseDeadlines,
  { guard, profiles, isNodemailerOnly }: OpeningParts,
  { opening, isPlaintextTry }: { opening: OpeningFacts; isPlaintextTry: boolean },
): Promise<OpenedOnce> {
  const startedAt = performance.now()
  const restMs = () => Math.max(0, startedAt + deadlines.openMs - performance.now())
  const connected = await connectTcp(target, guard, Math.min(deadlines.connectMs, restMs()))
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
    const secured = await connectTls(socket, target.host, tlsOptions, Math.min(deadlines.tlsMs, restMs()))
    if (!secured.ok) return failed(target, opening, secured, endpoint)
    socket = secured.socket
    opening.timingsMs.tls += performance.now() - handshakeAt
  }
  const setup = {
    target,
    endpoint,
    deadlines: { ...deadlines, openMs: restMs() },
    opening,
    tlsOptions,
    isPlaintextTry,
  }
  // Logins are a matter of their own, with many mechanisms: there the grown client stays.
  const session =
    target.auth !== null || isNodemailerOnly
      ? new NodemailerSession(socket, setup)
      : new SmtpSession(socket, setup)
  const verdict = await session.start()
  if (verdict === null) return { ok: true, session }
  const isTlsTrouble = verdict.phase === 'tls' && !session.isInjected
  const mayTryPlaintext = isTlsTrouble && target.tls === 'opportunistic' && !target.secure && !isPlaintextTry
  const report = session.reportOpening(verdict)
  // RFC 5321 §4.1.1.10: with QUIT, where the peer listens still; nobody waits for it.
  void session.close()
  return { ok: false, report, mayTryPlaintext }
}

function failed(
  target: SessionTarget,
  opening: OpeningFacts,
  failure: ConnectFailure,
  endpoint?: { ip: string; sourceIp: string | null },
): { ok: false; report: TransactionReport } {
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
  return { ok: false, report }
}
