/**
 * Which MTA-STS policy a domain has now (RFC 8461 §5): the stored one while it is valid, a new one when its TXT record says so.
 *
 * A policy is trusted on first use and then binding until its max_age is over: whatever happens to the record or to the policy
 * host meanwhile, the stored one goes on (§3.3, §10.2), so nobody can switch it off by blocking an answer. Only a first fetch, and one
 * for a new id, is waited for; what merely grows old is fetched again in the background.
 */
import { createAnswerCache } from '../dns/answer-cache.ts'
import type { Resolver } from '../dns/dns-answer.ts'
import { isWantOfSockets } from '../no-socket.ts'
import type { OutgoingHttp } from '../outgoing-http.ts'
import { readStsPolicy, readStsRecord, type StsPolicy, type StsRecord } from './mta-sts-documents.ts'
import { fetchStsPolicy } from './mta-sts-fetch.ts'
import type { TlsFailure } from './tls-failure.ts'

/** Where policies outlive the process, shared by all workers. */
export interface StsPolicyCache {
  /** The domain's policy if it is still valid. */
  find(domain: string): Promise<StoredStsPolicy | null>
  save(domain: string, policy: { id: string; text: string; maxAgeSeconds: number }): Promise<void>
}

export interface StoredStsPolicy {
  id: string
  text: string
  maxAgeSeconds: number
  /** Since it was fetched. */
  ageMs: number
}

export type StsAnswer =
  | { kind: 'policy'; policy: StsPolicy }
  /** No policy applies; `fault` when there should be one and none could be had. */
  | { kind: 'none'; fault: TlsFailure | null }
  /** Whether one is stored cannot be said now; or, `isOwnWant`, whether there is one, since this process had no socket to ask by. */
  | { kind: 'unavailable'; detail: string; isOwnWant?: boolean }

export interface StsPolicies {
  /** @param domain A-labels in lower case. Never rejects; look-ups of one domain under way are joined */
  policyOf(domain: string): Promise<StsAnswer>
}

export interface StsParts {
  resolver: Resolver
  http: OutgoingHttp
  cache: StsPolicyCache
  /** Of policy hosts: 443, but for tests. */
  port: number
  /** Monotonic, in milliseconds. */
  nowMs: () => number
}

interface Held {
  id: string
  policy: StsPolicy
  fetchedAtMs: number
  expiresAtMs: number
}

const dayMs = 86_400_000
/** Who owns a domain decides how long its policy is, so octets are counted too. */
const memory = { entries: 10_000, bytes: 16 * 1024 * 1024 }
/** Of an entry without its policy, about. */
const entryBytes = 200
/** After it, PostgreSQL is asked what other workers have stored meanwhile. */
const rememberedMs = 60_000
/** A dead policy host is asked so often, not by every mail (§3.3 asks for at least that). */
const failureRememberedMs = 5 * 60_000
/** `max_age: 0` must not mean a fetch per mail. */
const minAgeSeconds = 300
/** RFC 8461 §3.2. */
const maxAgeSeconds = 31_557_600

export function createStsPolicies(parts: StsParts): StsPolicies {
  const desk = new StsDesk(parts)
  const underWay = new Map<string, Promise<StsAnswer>>()
  return {
    policyOf(domain) {
      const joined = underWay.get(domain)
      if (joined !== undefined) return joined
      const answer = desk.answer(domain).finally(() => underWay.delete(domain))
      underWay.set(domain, answer)
      return answer
    },
  }
}

class StsDesk {
  private readonly parts: StsParts
  /** What is stored of a domain; null: nothing that is valid. */
  private readonly remembered
  /** By domain and id, what the last fetch failed with, while it is not tried again. */
  private readonly failures
  private readonly refreshing = new Set<string>()

  constructor(parts: StsParts) {
    this.parts = parts
    this.remembered = createAnswerCache<Held | null>(memory, parts.nowMs)
    this.failures = createAnswerCache<TlsFailure>(memory, parts.nowMs)
  }

  async answer(domain: string): Promise<StsAnswer> {
    try {
      const known = this.known(domain)
      const [record, held] = await Promise.all([
        readStsRecord(this.parts.resolver, domain),
        known === undefined ? this.readStored(domain) : known,
      ])
      // Before a fetch: has another worker stored the new one meanwhile?
      const isOutdated = known !== undefined && this.isToFetch(domain, record, held)
      return await this.decide(domain, record, isOutdated ? await this.readStored(domain) : held)
    } catch (error) {
      return {
        kind: 'unavailable',
        detail: `the MTA-STS policy cannot be read from the database or kept in it: ${(error as Error).message}`,
        isOwnWant: isWantOfSockets(error as NodeJS.ErrnoException),
      }
    }
  }

  private isToFetch(domain: string, record: StsRecord, held: Held | null): boolean {
    if (record.kind !== 'id' || held?.id === record.id) return false
    return this.failures.get(failureKey(domain, record.id)) === undefined
  }

  private async decide(domain: string, record: StsRecord, held: Held | null): Promise<StsAnswer> {
    // No record is no way to withdraw a policy (§8.3): that is done by one of mode none.
    if (record.kind === 'unavailable' && record.isOwnWant && held === null) return record
    if (record.kind !== 'id') return answerOf(held, null)
    if (held?.id === record.id) {
      this.refreshInTime(domain, held)
      return answerOf(held, null)
    }
    const fetched = await this.fetch(domain, record.id)
    if (!('fault' in fetched)) return answerOf(fetched, null)
    const { fault, detail = '', isOwnWant } = fetched
    // The mail waits until we can ask: it is not sent with less than the domain may demand.
    return isOwnWant && held === null ? { kind: 'unavailable', detail, isOwnWant } : answerOf(held, fault)
  }

  /** In the background, once a day or at half its life (§10.2): so a policy in use never ends. */
  private refreshInTime(domain: string, held: Held): void {
    const { nowMs } = this.parts
    const refreshAtMs = held.fetchedAtMs + Math.min(dayMs, (held.expiresAtMs - held.fetchedAtMs) / 2)
    if (nowMs() < refreshAtMs || this.refreshing.has(domain)) return
    this.refreshing.add(domain)
    void this.fetch(domain, held.id)
      // The policy that is held goes on; PostgreSQL's trouble is told to whoever needs it next.
      .catch(() => undefined)
      .finally(() => this.refreshing.delete(domain))
  }

  /** What memory says: a valid policy, null for none, undefined when it does not know. */
  private known(domain: string): Held | null | undefined {
    const held = this.remembered.get(domain)
    return held && held.expiresAtMs <= this.parts.nowMs() ? null : held
  }

  private async readStored(domain: string): Promise<Held | null> {
    const stored = await this.parts.cache.find(domain)
    const read = stored === null ? null : await readStsPolicy(stored.text)
    if (stored !== null && read?.ok) return this.hold(domain, read.policy, stored)
    this.remembered.put(domain, null, rememberedMs, entryBytes)
    return null
  }

  /** Fetches and stores, unless that failed a short while ago. */
  private async fetch(
    domain: string,
    id: string,
  ): Promise<Held | { fault: TlsFailure; detail?: string; isOwnWant?: boolean }> {
    const { http, port, cache } = this.parts
    const key = failureKey(domain, id)
    const known = this.failures.get(key)
    if (known !== undefined) return { fault: known }
    const fetched = await fetchStsPolicy(http, domain, port)
    if (!fetched.ok) {
      if (!fetched.isOwnWant) this.failures.put(key, fetched.fault, failureRememberedMs, entryBytes)
      return fetched
    }
    const age = Math.min(Math.max(fetched.policy.maxAge, minAgeSeconds), maxAgeSeconds)
    const policy = { id, text: fetched.text, maxAgeSeconds: age }
    await cache.save(domain, policy)
    return this.hold(domain, fetched.policy, { ...policy, ageMs: 0 })
  }

  private hold(domain: string, policy: StsPolicy, stored: StoredStsPolicy): Held {
    const fetchedAtMs = this.parts.nowMs() - stored.ageMs
    const held = {
      id: stored.id,
      policy,
      fetchedAtMs,
      expiresAtMs: fetchedAtMs + stored.maxAgeSeconds * 1000,
    }
    this.remembered.put(domain, held, rememberedMs, entryBytes + stored.text.length)
    return held
  }
}

function failureKey(domain: string, id: string): string {
  return `${domain} ${id}`
}

function answerOf(held: Held | null, fault: TlsFailure | null): StsAnswer {
  return held === null || held.policy.mode === 'none'
    ? { kind: 'none', fault: held === null ? fault : null }
    : { kind: 'policy', policy: held.policy }
}
