/** Facts about a mail that waits, and what is explained of them when some are changed. */
import { type AttemptFacts, type ExplanationFacts, explainRecipient } from './index.ts'

export const nowMs = Date.parse('2026-11-25T14:00:00Z')
export const minuteMs = 60_000

export const facts: ExplanationFacts = {
  nowMs,
  message: {
    stream: 'transactional',
    delivery: 'mx',
    sendAtMs: null,
    expiresAtMs: nowMs + 24 * 60 * minuteMs,
    suspendedAtMs: null,
    bulkPause: null,
    requireTls: false,
    fromDomain: 'acme.test',
    isContentKept: true,
  },
  recipient: {
    email: 'ann@example.org',
    domain: 'example.org',
    status: 'queued',
    reason: null,
    reply: null,
    attempts: 0,
    nextAttemptAtMs: null,
    deliveredAtMs: null,
    complainedAtMs: null,
    unsubscribedAtMs: null,
    isSimulated: false,
  },
  delivery: { state: 'admitted', dueAtMs: nowMs - 100, hold: null, crashes: 0 },
  lastAttempt: null,
  uncertainAttempts: 0,
  suppression: null,
  site: null,
  senderHolds: new Map(),
  route: null,
  ahead: { count: 0, isMore: false },
  sender: null,
  hasStsPolicy: false,
  system: { delivery: 'mx', workers: 2, queueFault: null, queueBackend: 'redis' },
}

export const refused: AttemptFacts = {
  number: 1,
  outcome: 'deferred',
  reason: 'network',
  startedAtMs: nowMs - minuteMs,
  route: 'mx',
  isRelay: false,
  host: 'mx.example.org',
  ip: '192.0.2.1',
  port: 25,
  tls: null,
  phase: 'connect',
  reply: 'connect ECONNREFUSED 192.0.2.1:25',
  isUncertain: false,
  judgement: {
    failure: 'connection_refused',
    blame: 'host',
    action: 'retry',
    evidence: 'failure',
    taughtBy: null,
  },
}

export type Parts = { [Part in keyof ExplanationFacts]?: Partial<ExplanationFacts[Part]> | null }

/** The facts with some of them changed. */
export function explain(parts: Parts) {
  const changed = Object.entries(parts).map(([part, value]) => {
    const before = facts[part as keyof ExplanationFacts]
    return [
      part,
      value !== null && typeof value === 'object' && !(value instanceof Map)
        ? { ...(before as object), ...value }
        : value,
    ]
  })
  return explainRecipient({ ...facts, ...Object.fromEntries(changed) } as ExplanationFacts)
}

/** Deferred by this attempt, and due again in 8 minutes. */
export function deferred(attempt: Partial<AttemptFacts> = {}, parts: Parts = {}) {
  const lastAttempt = { ...refused, ...attempt }
  return explain({
    recipient: {
      status: 'deferred',
      attempts: 1,
      reason: lastAttempt.reason,
      nextAttemptAtMs: nowMs + 8 * minuteMs,
    },
    delivery: { state: 'waiting', dueAtMs: nowMs + 8 * minuteMs },
    lastAttempt,
    ...parts,
  })
}

/** Ended by this reply to RCPT. */
export function bounced(reason: string, reply: string, parts: Parts = {}) {
  const judgement = {
    failure: null,
    blame: 'recipient',
    action: 'fail',
    evidence: 'rule',
    taughtBy: 'a line',
  } as const
  return explain({
    recipient: { status: 'bounced', attempts: 1, reason, reply },
    delivery: null,
    lastAttempt: { ...refused, outcome: 'bounced', reason, reply, phase: 'rcpt', judgement },
    ...parts,
  })
}

export const first = ({ because }: { because: { kind: string }[] }) => because[0]?.kind
export const kinds = ({ because }: { because: { kind: string }[] }) => because.map(({ kind }) => kind)
