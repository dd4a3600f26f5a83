/**
 * Puts together what is reported of a transaction.
 */
import type { Phase, TimingsMs, TlsFacts, TransactionReport, TransportFailure } from '@valija/core'
import type { SmtpReply } from '@valija/mail'
import type { Endpoint } from './connect.ts'
import type { Dialogue } from './dialogue.ts'
import type { TransactionContext } from './session.ts'
import type { Transcript } from './transcript.ts'

/** How it ended. */
export interface Verdict {
  phase: Phase
  reply: SmtpReply | null
  failure: TransportFailure | null
  detail: string | null
  isUncertain: boolean
}

export interface ReportFacts {
  route: string
  host: string
  ip: string | null
  port: number
  sourceIp: string | null
  tls: TlsFacts | null
  timingsMs: Omit<TimingsMs, 'total'>
  /** Knows when the attempt began. */
  transcript: Transcript
  sizeBytes: number | null
}

/** What an opening leaves behind for the report of the first mail, or of its own failure. */
export interface OpeningFacts {
  transcript: Transcript
  /** Over all peers that were tried. */
  timingsMs: { dns: number; connect: number; tls: number }
}

export const noTimings: Omit<TimingsMs, 'total'> = {
  dns: 0,
  connect: 0,
  tls: 0,
  ehlo: 0,
  envelope: 0,
  data: 0,
}

/** A failure that needs no reply. */
export function failureVerdict(phase: Phase, failure: TransportFailure, detail: string): Verdict {
  return { phase, reply: null, failure, detail, isUncertain: false }
}

/** A reply that decides. */
export function replyVerdict(phase: Phase, reply: SmtpReply): Verdict {
  return { phase, reply, failure: null, detail: null, isUncertain: false }
}

export function buildReport(facts: ReportFacts, verdict: Verdict): TransactionReport {
  const { transcript, timingsMs, ...endpoint } = facts
  const durationMs = Math.round(transcript.ageMs)
  return {
    ...endpoint,
    ...verdict,
    startedAt: transcript.startedAt,
    durationMs,
    timingsMs: {
      dns: Math.round(timingsMs.dns),
      connect: Math.round(timingsMs.connect),
      tls: Math.round(timingsMs.tls),
      ehlo: Math.round(timingsMs.ehlo),
      envelope: Math.round(timingsMs.envelope),
      data: Math.round(timingsMs.data),
      total: durationMs,
    },
    // What is said later (RSET, the peer's good-bye) is about no mail.
    transcript: [...transcript.lines],
    isSimulated: false,
  }
}

/** What a session reports of one mail, or of its opening. */
export function reportOfDialogue(
  session: { endpoint: Endpoint; dialogue: Dialogue; tls: TlsFacts | null },
  /** Null when an earlier mail has told of the opening. */
  opening: OpeningFacts | null,
  mail: { verdict: Verdict; context: TransactionContext; sizeBytes: number | null },
): TransactionReport {
  const { endpoint, dialogue, tls } = session
  const open = opening?.timingsMs ?? noTimings
  const elapsed = dialogue.takeElapsed()
  const facts = {
    ...endpoint,
    route: mail.context.route,
    tls,
    timingsMs: { ...elapsed, dns: open.dns, connect: open.connect, tls: open.tls + elapsed.tls },
    transcript: dialogue.transcript,
    sizeBytes: mail.sizeBytes,
  }
  return buildReport(facts, mail.verdict)
}
