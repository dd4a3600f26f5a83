/**
 * One look-up, from the question to what the DNS says in the end: servers in turn, aliases to their end, and a second
 * opinion before a name is said to be missing.
 */
import { type ChainEnd, followAliases, type Trail } from './alias-chain.ts'
import { type DnsServerState, Inquiry, type Outcome } from './ask-servers.ts'
import type { DnsAnswer, DnsType } from './dns-answer.ts'
import type { Question } from './wire.ts'

/** An answer, how long it holds, and what it cost to say. */
export interface Finding {
  answer: DnsAnswer<DnsType>
  ttlMs: number
  sizeBytes: number
  /** Who said it last; null when nobody did. */
  server: DnsServerState | null
}

export interface LookUps {
  find(question: Question, timeoutMs: number): Promise<Finding>
  /** What is under way ends as `unavailable`. */
  close(): void
}

export function createLookUps(servers: readonly DnsServerState[], patienceMs: number): LookUps {
  const underWay = new Set<Inquiry>()
  let isClosed = false

  async function ask(question: Question, among: readonly DnsServerState[], endsAt: number): Promise<Outcome> {
    const timeoutMs = endsAt - performance.now()
    if (isClosed) return { ok: false, why: ['the resolver is closed'], isOwnWant: false }
    if (timeoutMs <= 0) return { ok: false, why: ['no time is left'], isOwnWant: false }
    const inquiry = new Inquiry(question, among, { patienceMs, timeoutMs })
    underWay.add(inquiry)
    const outcome = await inquiry.outcome
    underWay.delete(inquiry)
    return outcome
  }

  async function follow(
    question: Question,
    among: readonly DnsServerState[],
    endsAt: number,
  ): Promise<Finding> {
    const { name, type } = question
    const trail: Trail = { names: [name], ttl: Number.POSITIVE_INFINITY, isAuthenticated: true, sizeBytes: 0 }
    for (let asked = name; ; ) {
      const outcome = await ask({ name: asked, type }, among, endsAt)
      if (!outcome.ok) {
        const detail = `no answer about ${type} of ${asked}: ${outcome.why.join('; ')}`
        return unavailable(detail, outcome.isOwnWant)
      }
      trail.isAuthenticated &&= outcome.reply.isAuthenticated && outcome.server.address.isTrusted
      const end = followAliases(outcome.reply, type, trail)
      if (end.kind === 'broken') return unavailable(end.detail)
      if (end.kind !== 'onward') return findingOf(end, trail, outcome.server)
      asked = end.name
    }
  }

  return {
    async find(question, timeoutMs) {
      const endsAt = performance.now() + timeoutMs
      const first = await follow(question, servers, endsAt)
      const others = servers.filter((server) => server !== first.server)
      if (first.answer.kind !== 'unknown_name' || others.length === 0) return first
      const second = await follow(question, others, endsAt)
      if (second.answer.kind === 'unavailable') return first
      // A missing name ends mail: whoever knows better is right.
      if (second.answer.kind !== 'unknown_name') return second
      const ttlMs = Math.min(first.ttlMs, second.ttlMs)
      return { ...first, ttlMs, answer: { ...first.answer, isConfirmed: true } }
    },
    close() {
      isClosed = true
      for (const inquiry of underWay) inquiry.end('the resolver was closed')
    },
  }
}

/** RFC 9520 §3.2: a failure is remembered, for a second at least, so that a queue does not hammer a server that fails. */
const FAILURE_TTL_MS = 1_000

export function unavailable(detail: string, isOwnWant = false): Finding {
  return {
    answer: { kind: 'unavailable', detail, ...(isOwnWant && { isOwnWant: true as const }) },
    ttlMs: FAILURE_TTL_MS,
    sizeBytes: detail.length,
    server: null,
  }
}

type AnsweringEnd = Exclude<ChainEnd, { kind: 'broken' | 'onward' }>

function findingOf(end: AnsweringEnd, trail: Trail, server: DnsServerState): Finding {
  const { isAuthenticated, sizeBytes } = trail
  const base = { ttlMs: trail.ttl * 1000, sizeBytes, server }
  if (end.kind === 'records')
    return { ...base, answer: { kind: 'records', records: end.records, isAuthenticated } }
  if (end.kind === 'no_data') return { ...base, answer: { kind: 'no_data', isAuthenticated } }
  return { ...base, answer: { kind: 'unknown_name', isAuthenticated, isConfirmed: false } }
}
