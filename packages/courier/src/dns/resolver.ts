/**
 * The stub resolver that delivery asks: answers kept by their TTL, look-ups of one question joined, several servers in turn, and
 * whether DNSSEC vouches for an answer. The system's own (`node:dns`) tells neither TTL nor AD, and takes a server
 * that fails for a name that is not there.
 */
import { type AnswerCacheLimits, createAnswerCache } from './answer-cache.ts'
import { createServerStates, nameOf } from './ask-servers.ts'
import type { DnsAnswer, DnsType, Resolver } from './dns-answer.ts'
import { createLookUps, unavailable } from './look-up.ts'
import { serverList } from './server-list.ts'
import { createTurnstile } from './turnstile.ts'
import { dnsName, type Question } from './wire.ts'

export interface ResolverOptions {
  /** `ip`, `ip:port`, `[v6]:port`, in the order of asking; empty: the system's. */
  servers: readonly string[]
  /** Whether the servers' AD flag is believed; absent: that of servers named here, and of a system resolver on this machine. */
  trustsAd?: boolean
  /** For one look-up in all, aliases, second servers and confirmation included. */
  timeoutMs?: number
  /** How long one server is waited for before the next is asked as well. */
  patienceMs?: number
  /** Of the kept answers. */
  cache?: AnswerCacheLimits
  /** Look-ups under way at once; others wait for their turn. */
  concurrency?: number
  /** Answers say which server gave them. */
  namesServers?: boolean
  /** Monotonic, in milliseconds: the clock of the kept answers. */
  now?: () => number
}

/**
 * 12 s: a resolver that recurses to slow name servers needs up to ten itself. 2.5 s of patience: longer than most recursions, and
 * a dead first server costs it once in 30 s. 500 questions: under the 1,024 descriptors of a careless system.
 */
const DEFAULTS = {
  timeoutMs: 12_000,
  patienceMs: 2_500,
  cache: { entries: 20_000, bytes: 16 * 1024 * 1024 },
  concurrency: 500,
  now: () => performance.now(),
}

/** An hour: domains that move expect to be followed, whatever TTL they forgot. */
const MAX_TTL_MS = 3_600_000
/**
 * RFC 2308 §5 allows hours; a name that appears now (a typo mended, a domain just registered) should not wait for those. And the
 * second look at what seems to be missing, 5 min later with 10 % of jitter, has to be a look and no memory.
 */
const MAX_NEGATIVE_TTL_MS = 240_000
/** What one resolver alone says of a missing name is asked again before it can turn mail back. */
const MAX_UNCONFIRMED_TTL_MS = 60_000

/** @throws {Error} when a server is not an address */
export function createResolver(options: ResolverOptions): Resolver {
  const { timeoutMs, patienceMs, concurrency, cache: limits, now } = { ...DEFAULTS, ...options }
  const servers = createServerStates(serverList(options.servers, options.trustsAd))
  const lookUps = createLookUps(servers, patienceMs)
  const turnstile = createTurnstile(concurrency)
  const cache = createAnswerCache<DnsAnswer<DnsType>>(limits, now)
  const underWay = new Map<string, Promise<DnsAnswer<DnsType>>>()

  async function lookUp(key: string, question: Question): Promise<DnsAnswer<DnsType>> {
    const endsAt = performance.now() + timeoutMs
    const leave = await turnstile.enter(timeoutMs)
    const { answer, ttlMs, sizeBytes, server } =
      leave === null
        ? unavailable(`too many questions to the DNS: ${question.name} did not get its turn`)
        : await lookUps.find(question, endsAt - performance.now())
    leave?.()
    underWay.delete(key)
    if (options.namesServers && server) answer.by = nameOf(servers.indexOf(server), servers.length)
    cache.put(key, answer, longestFor(answer, ttlMs), key.length + sizeBytes)
    return answer
  }

  return {
    async resolve<T extends DnsType>(name: string, type: T): Promise<DnsAnswer<T>> {
      const asked = dnsName(name)
      // Empty or over-long labels, or no ASCII: no server needs to be asked whether that is there.
      if (asked === null) return { kind: 'unknown_name', isAuthenticated: false, isConfirmed: true }
      const key = `${type} ${asked}`
      let answer = cache.get(key)
      if (answer === undefined) {
        const joined = underWay.get(key) ?? lookUp(key, { name: asked, type })
        underWay.set(key, joined)
        answer = await joined
      }
      return handOut(answer) as DnsAnswer<T>
    },
    close: () => lookUps.close(),
  }
}

function longestFor(answer: DnsAnswer<DnsType>, ttlMs: number): number {
  if (answer.kind === 'records') return Math.min(ttlMs, MAX_TTL_MS)
  const isUnconfirmed = answer.kind === 'unknown_name' && !answer.isConfirmed
  return Math.min(ttlMs, isUnconfirmed ? MAX_UNCONFIRMED_TTL_MS : MAX_NEGATIVE_TTL_MS)
}

/** A list of the caller's own: sorting it must not sort the kept one. */
function handOut(answer: DnsAnswer<DnsType>): DnsAnswer<DnsType> {
  return answer.kind === 'records' ? { ...answer, records: [...answer.records] } : answer
}
