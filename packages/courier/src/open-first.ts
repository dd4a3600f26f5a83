/**
 * Opens a session to the first of a destination's peers that will have us (RFC 5321 §5.1): whoever cannot be reached, refuses
 * before MAIL, or does not meet the TLS that is demanded is passed over for the next. What each of them did stands in the
 * transcript, one line each; of those that failed, one conversation in full.
 */
import type { TransactionReport, TranscriptLine } from '@valija/core'
import type { NetworkGuard } from './network-guard.ts'
import { failureLine, type OpeningParts, openSession } from './open-session.ts'
import type { OpeningFacts } from './report.ts'
import type { OpenFirst, Opening, OpenSession, PhaseDeadlines, SessionTarget } from './session.ts'
import { createTlsProfiles } from './tls-demand.ts'
import { Transcript } from './transcript.ts'

/** Nobody's mail needs more; whoever publishes more does not get to keep us busy. */
const maxCandidates = 20

/** Peers that answer and refuse: a site that has had enough of us is not asked at every one of its addresses. */
const maxRefusals = 5

/** While there is another peer to try, an address that does not answer (broken IPv6, a dead host) is not waited for any longer. */
const hurriedConnectMs = 10_000

/** With less of the time for all left than this no other peer is begun with. */
const leastOpenMs = 10

export interface OpenerParts {
  /** Judges every address of every candidate that is not exempt. */
  guard: NetworkGuard
  /** For comparison: our own session is used for no peer. */
  isNodemailerOnly?: boolean
}

export function createOpenSession(parts: OpenerParts): OpenSession {
  const openFirst = createOpenFirst(parts)
  return (target, deadlines) => openFirst([target], deadlines)
}

export function createOpenFirst(parts: OpenerParts): OpenFirst {
  const opener: OpeningParts = { isNodemailerOnly: false, ...parts, profiles: createTlsProfiles() }
  return (candidates, deadlines) => tryInTurn(candidates.slice(0, maxCandidates), deadlines, opener)
}

async function tryInTurn(
  candidates: readonly SessionTarget[],
  deadlines: PhaseDeadlines,
  parts: OpeningParts,
): Promise<Opening> {
  const openBy = performance.now() + deadlines.openMs
  const failures: TransactionReport[] = []
  const tried: TranscriptLine[] = []
  const opening: OpeningFacts = { transcript: new Transcript(), timingsMs: { dns: 0, connect: 0, tls: 0 } }
  for (const [index, target] of candidates.entries()) {
    const openMs = openBy - performance.now()
    if (failures.length > 0 && (openMs < leastOpenMs || isEnough(failures))) break
    const isLast = index === candidates.length - 1
    const connectMs = isLast ? deadlines.connectMs : Math.min(deadlines.connectMs, hurriedConnectMs)
    opening.transcript = new Transcript(opening.transcript.ageMs, tried)
    const opened = await openSession(target, { ...deadlines, openMs, connectMs }, parts, opening)
    if (opened.ok) return opened
    failures.push(opened.report)
    tried.push(lineOf(opened.report))
  }
  return { ok: false, report: tellAll(failures, tried, opening) }
}

function isEnough(failures: readonly TransactionReport[]): boolean {
  const last = failures.at(-1)
  // The same login is refused, or not sent, everywhere; and a socket that cannot be had is not to be had for the next one either.
  if (last?.phase === 'auth' || last?.failure === 'no_socket') return true
  return failures.filter(({ reply }) => reply !== null).length >= maxRefusals
}

/** The most telling failure, with what was seen before and after it. */
function tellAll(
  failures: readonly TransactionReport[],
  tried: readonly TranscriptLine[],
  { transcript, timingsMs }: OpeningFacts,
): TransactionReport {
  const best = failures.reduce((a, b) => (weightOf(b) > weightOf(a) ? b : a))
  const after = failures.length > 1 ? tried.slice(failures.indexOf(best)) : []
  return {
    ...best,
    startedAt: transcript.startedAt,
    durationMs: Math.round(transcript.ageMs),
    timingsMs: {
      ...best.timingsMs,
      dns: Math.round(timingsMs.dns),
      connect: Math.round(timingsMs.connect),
      total: Math.round(transcript.ageMs),
    },
    transcript: [...best.transcript, ...after],
  }
}

/**
 * Which failure stands for all. A refusal for now before one for good: as long as one of the peers may take the mail later, it is
 * not lost. An address that we do not go to says something of the whole only if there is nothing else.
 */
function weightOf({ reply, failure, phase }: TransactionReport): number {
  if (phase === 'auth') return 6
  // Nobody knows what would have become of it.
  if (failure === 'no_socket') return 6
  if (failure === null) return reply !== null && reply.code < 500 ? 5 : 4
  if (failure === 'tls') return 3
  if (failure === 'address_refused') return 0
  return phase === 'connect' || phase === 'dns' ? 1 : 2
}

function lineOf(report: TransactionReport): TranscriptLine {
  return { t_ms: report.durationMs, from: 'client', line: failureLine(report).slice(0, 500) }
}
