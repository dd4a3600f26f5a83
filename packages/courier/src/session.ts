/**
 * The port of a delivery session: one connection to one peer that carries many mails, one recipient each.
 *
 * Whatever implements it is run through `session.conformance.io.test.ts`. A session never throws: how a mail ended, and every
 * way in which it could not even begin, is a `TransactionReport` that names the phase and either the reply or the failure.
 */
import type { TlsFacts, TransactionReport } from '@valija/core'
import type { SessionPeer } from './destination.ts'
import type { TlsaRecord } from './dns/dns-answer.ts'

/** The SMTP envelope of one mail. It has exactly one recipient, so a reply is never about somebody else. */
export interface Envelope {
  /** Return path in its ASCII form; empty for the null sender (RFC 5321 §4.5.5). */
  from: string
  /** In canonical form. Sessions refuse what could end a command's path, and judge it no further. */
  to: string
  /** The mail needs SMTPUTF8 (RFC 6531) on every hop; a peer without it cannot have it. */
  needsSmtpUtf8: boolean
  /** Our id of this delivery, passed as ENVID where the peer offers DSN (RFC 3461 §4.4); null for none. */
  envid: string | null
  /** The original recipient as ORCPT where the peer offers DSN (RFC 3461 §4.2); absent: none. */
  orcpt?: string
  /** Pass REQUIRETLS with MAIL where the peer offers it (RFC 8689 §2); the session's TLS demand is the target's matter. */
  requiresTls?: boolean
}

/** Says whether the right to send this mail is still ours (the lease of its delivery). Must be cheap and not throw. */
export interface TransactionGuard {
  /** Asked before MAIL, after 354 before the first byte, and again before the final dot. */
  isStillMine(): boolean
  /** Waited for before the final dot, and before it is asked for the last time whether the mail is still ours. Must not reject. */
  beforeEnd?(): Promise<void>
}

/** What the report says besides the conversation. */
export interface TransactionContext {
  /** Name of the route, for the report. */
  route: string
  /** When the attempt began (`Date.now()`), if before this call. The first mail of a session counts from its opening instead. */
  startedAtMs?: number
}

export interface Session {
  /** One transaction. Never throws: every end is a report. One at a time. */
  send(
    envelope: Envelope,
    bytes: Buffer,
    guard: TransactionGuard,
    context: TransactionContext,
  ): Promise<TransactionReport>
  /** Who is at the other end: the name that was asked for, and the address that answered. */
  readonly peer: SessionPeer
  /** Whether it may carry another mail. */
  readonly isUsable: boolean
  /** Transactions begun so far. */
  readonly sent: number
  /** QUIT and close, within `quitMs`. May be called at any time, also twice. */
  close(): Promise<void>
}

export interface SessionTarget {
  route: string
  /** Name of the peer: what its certificate must say, and what is looked up unless `ip` is given. */
  host: string
  port: number
  /** Connect to this address instead of looking `host` up. */
  ip?: string
  /** TLS from the first byte (RFC 8314 §3.3) instead of STARTTLS. */
  secure: boolean
  /**
   * `opportunistic`: encrypt where the peer can, verified or not, in plaintext otherwise (RFC 7435). `required`: encrypted to a
   * verified name, or not at all. `encrypted`: encrypted to whomever, or not at all. `dane`: encrypted to a certificate that
   * `tlsa` names (RFC 7672), or not at all. `off`: no STARTTLS even if offered.
   */
  tls: 'opportunistic' | 'encrypted' | 'required' | 'dane' | 'off'
  /** Usable TLSA records of the host, for `dane`. */
  tlsa?: readonly TlsaRecord[]
  /** Names that the certificate may bear for `required` and `dane`; absent: `host` alone. */
  tlsNames?: readonly string[]
  /** Who asked for it, as attempts show it; absent: told from `tls` and `secure`. */
  tlsPolicy?: TlsFacts['policy']
  /** Sent only over verified TLS, to a private address, or where TLS was switched off on purpose. */
  auth: { user: string; pass: string } | null
  /** Extra trusted certificate (PEM); null trusts the system's authorities alone. */
  ca?: string | null
  ehloName: string
  /** Address to bind, null leaves it to the system. */
  localAddress: string | null
  /** The operator chose this peer: it may be at a private address. */
  isExemptFromGuard: boolean
}

export type Opening = { ok: true; session: Session } | { ok: false; report: TransactionReport }

export type OpenSession = (target: SessionTarget, deadlines: PhaseDeadlines) => Promise<Opening>

/**
 * One session to the first of several peers with which mail can be sent, in the order given. Not empty.
 *
 * @returns when none will do, what is most worth knowing of all: a refusal before a failed encryption, that before silence
 */
export type OpenFirst = (candidates: readonly SessionTarget[], deadlines: PhaseDeadlines) => Promise<Opening>

/**
 * How long each phase may take in all, in milliseconds: total, not idle, so a peer that drips one byte at a time ends on time.
 * Each counts from the moment the phase could begin to the end of the peer's whole reply.
 */
export interface PhaseDeadlines {
  /** From the first packet until MAIL can be said, over all phases and all peers that are tried for it. */
  openMs: number
  /** Lookup and TCP handshake. */
  connectMs: number
  greetingMs: number
  ehloMs: number
  /** STARTTLS and the handshake, each. */
  tlsMs: number
  /** Each step of the login (one to three, by mechanism). */
  authMs: number
  mailMs: number
  rcptMs: number
  /** DATA until 354. */
  dataMs: number
  /** Handing the body over, plus `bodyMsPerMegabyte` for each megabyte of it. */
  bodyMs: number
  bodyMsPerMegabyte: number
  /** From the final dot to its reply. Long, because giving up here may send the mail twice (RFC 1047). */
  dotMs: number
  /** RSET after a refusal, and QUIT. */
  quitMs: number
}

/** The longest that a mail takes with a peer that uses every deadline up, from the first packet to the last reply. */
export function longestConversationMs(deadlines: PhaseDeadlines, sizeBytes: number): number {
  const { openMs, mailMs, rcptMs, dataMs, bodyMs, bodyMsPerMegabyte, dotMs, quitMs } = deadlines
  // In chunks of a megabyte each has a deadline of its own.
  const handOverMs = Math.ceil(sizeBytes / 1_000_000) * (bodyMs + bodyMsPerMegabyte)
  return openMs + mailMs + rcptMs + dataMs + handOverMs + dotMs + 2 * quitMs
}

/**
 * Shorter than RFC 5321 §4.5.3.2 at the start of the conversation, where giving up costs nothing but a retry (connect and greeting
 * decide how long a dead host holds a slot), and as long as the RFC asks at the end, where it costs a duplicate. One megabyte
 * in 100 s is 10 KB/s, the slowest peer worth serving.
 */
export const defaultDeadlines: PhaseDeadlines = {
  openMs: 120_000,
  connectMs: 30_000,
  greetingMs: 60_000,
  ehloMs: 60_000,
  tlsMs: 60_000,
  authMs: 60_000,
  mailMs: 60_000,
  rcptMs: 60_000,
  dataMs: 120_000,
  bodyMs: 180_000,
  bodyMsPerMegabyte: 100_000,
  dotMs: 600_000,
  quitMs: 5_000,
}
