/**
 * What is known of one SMTP transaction (one recipient's MAIL, RCPT, DATA) after it: the courier writes it down, the
 * disposition judges it, and settle keeps it as an attempt.
 */
import type { SmtpReply } from '@valija/mail'

/** The step of the conversation that decided. */
export const phases = [
  'dns',
  'connect',
  'greeting',
  'tls',
  'ehlo',
  'auth',
  'mail',
  'rcpt',
  'data',
  'body',
] as const
export type Phase = (typeof phases)[number]

/** Why there is no (usable) reply. */
export const transportFailures = [
  /** The domain does not exist, or has neither mail exchanger nor address, and a second look said so too. */
  'name_unknown',
  /** The same at the first look: to be looked at once more before it is final. */
  'name_doubtful',
  /** The domain says that it takes no mail (null MX, RFC 7505). */
  'null_mx',
  /** The name could not be looked up now (SERVFAIL, time-out). */
  'name_unavailable',
  'connection_refused',
  'connection_timeout',
  /** This worker could open no socket: it, or its machine, has as many files open as it may, or no memory for one. */
  'no_socket',
  /** An address that the guard against private networks refuses. */
  'address_refused',
  /** The connection ended before the final reply. */
  'connection_lost',
  /** A phase's deadline passed (RFC 5321 §4.5.3.2). */
  'timeout',
  /** The TLS handshake failed, or TLS was required and not offered. */
  'tls',
  /** The peer answered something that is not SMTP, such as 250 to DATA. */
  'protocol',
  /** The peer refused our login. */
  'login_refused',
  /** The peer lacks an extension that this mail needs (SMTPUTF8). */
  'capability',
  /** The mail is larger than the peer says it takes (SIZE, RFC 1870 §6.1). */
  'too_large',
  /** We stopped before DATA because the lease was no longer ours: nothing was sent, and nothing is recorded. */
  'lease_lost',
  /** The worker that had the mail died, hung or was stopped after the final dot, so that no reply was read. */
  'worker_lost',
  /** The database was set back to an earlier time: what became of the mail after that is not known, and the operator does not have it sent again. */
  'restored',
  /** It ended its worker again and again, and at last a process that had nothing else to do. */
  'crash',
  /** We could not compose the mail. */
  'compose',
  /** The mail is to be signed, and we could not: it waits, because unsigned it must not go. */
  'sign',
] as const
export type TransportFailure = (typeof transportFailures)[number]

export interface TlsFacts {
  /** `TLSv1.3` and the like. */
  version: string
  cipher: string
  /** Whether the peer's certificate is valid for its name. */
  verified: boolean
  policy: 'opportunistic' | 'encrypted' | 'required' | 'implicit' | 'mta-sts' | 'dane'
  /** Why it is not verified; null when it is. */
  detail: string | null
}

export interface TranscriptLine {
  /** Milliseconds since the attempt began. */
  t_ms: number
  from: 'client' | 'server'
  line: string
}

/** Durations of an attempt's phases in milliseconds; what an attempt on a reused connection did not need is 0. */
export interface TimingsMs {
  dns: number
  connect: number
  tls: number
  ehlo: number
  envelope: number
  data: number
  total: number
}

export interface TransactionReport {
  /** Name of the route: `capture`, `smarthost`, `mx`, `simulator` or a tenant's own. */
  route: string
  host: string | null
  ip: string | null
  port: number | null
  sourceIp: string | null
  /** Null on a plaintext connection. */
  tls: TlsFacts | null
  phase: Phase
  /** The reply that decided; null when none came. */
  reply: SmtpReply | null
  /** Null when `reply` decided. */
  failure: TransportFailure | null
  /** One sentence for people when `failure` is set. */
  detail: string | null
  /** Our last byte was taken by the kernel and no final reply was read (DESIGN 4.5). */
  isUncertain: boolean
  startedAt: Date
  durationMs: number
  timingsMs: TimingsMs
  transcript: TranscriptLine[]
  /** Octets of the composed mail; null if it was never composed. */
  sizeBytes: number | null
  isSimulated: boolean
}
