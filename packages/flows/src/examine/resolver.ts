/**
 * The resolvers, each for itself: does it answer, does it say that a missing name is missing, does it validate DNSSEC. One that
 * answers everything makes every address look blocklisted, and sends mail for mistyped domains to whoever pays for them.
 */
import { randomBytes } from 'node:crypto'
import { createResolver, type DnsAnswer, type DnsServerAddress, serverList } from '@valija/courier'
import { type Check, checkOf } from './check.ts'

export interface ResolverQuestions {
  /** Names under DNSSEC that have an address. */
  signed: readonly string[]
  /** A domain below which a random name is not there. */
  absentUnder: string
}

/** Signed since long before most, by people who will not stop: the IETF and the makers of BIND. */
export const publicQuestions: ResolverQuestions = { signed: ['ietf.org', 'isc.org'], absentUnder: 'com' }

export interface ServerAnswers {
  /** `ip:port`. */
  server: string
  /** Whether its AD flag is believed (courier/dns/server-list.ts). */
  isTrusted: boolean
  signed: DnsAnswer<'A'>[]
  absent: DnsAnswer<'A'>
  /** The first answer's time. */
  durationMs: number
}

const limits = { timeoutMs: 8_000, patienceMs: 2_500, cache: { entries: 0, bytes: 0 } }

/** @param servers as VALIJA_DNS_SERVERS has them; empty: the system's */
export async function askServers(
  servers: readonly string[],
  questions: ResolverQuestions,
): Promise<ServerAnswers[]> {
  return Promise.all(serverList(servers).map((server) => askServer(server, questions)))
}

async function askServer(address: DnsServerAddress, questions: ResolverQuestions): Promise<ServerAnswers> {
  const server = serverText(address)
  const resolver = createResolver({ ...limits, servers: [server], trustsAd: true })
  const startedAt = performance.now()
  let durationMs = 0
  const timed = <T>(answer: T): T => {
    durationMs ||= performance.now() - startedAt
    return answer
  }
  try {
    const absentName = `valija-${randomBytes(8).toString('hex')}.${questions.absentUnder}`
    const [absent, ...signed] = await Promise.all(
      [absentName, ...questions.signed].map((name) => resolver.resolve(name, 'A').then(timed)),
    )
    if (absent === undefined) throw new Error('nothing was asked')
    return { server, isTrusted: address.isTrusted, signed, absent, durationMs }
  } finally {
    resolver.close()
  }
}

function serverText({ ip, port }: DnsServerAddress): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** Every mail waits for several answers. */
const slowMs = 1_000
const ownResolver =
  'a validating one on this machine (unbound, Knot Resolver, BIND) is best, with VALIJA_DNS_SERVERS=127.0.0.1'

/** @param isEssential mail cannot leave without: else a failure is only a warning */
export function judgeServers(all: readonly ServerAnswers[], isEssential: boolean): Check[] {
  if (all.length === 0) {
    const fix = `Name one in VALIJA_DNS_SERVERS or in /etc/resolv.conf; ${ownResolver}.`
    return [softened(checkOf('resolver').failed('there is no resolver to ask', fix), isEssential)]
  }
  const isNobodyThere = all.every((one) => faultOf(one) !== null)
  const each = all.map((one) =>
    softened(judgeServer(one), isEssential && (isNobodyThere || faultOf(one) === null)),
  )
  return isNobodyThere ? each : [...each, judgeDnssec(all)]
}

/** A failure that stops nothing is a warning. */
function softened(check: Check, isEssential: boolean): Check {
  return check.status === 'failed' && !isEssential ? { ...check, status: 'warning' } : check
}

/** Why a server gives no answers at all; null when it does. */
function faultOf({ signed, absent }: ServerAnswers): string | null {
  const all = [absent, ...signed]
  const unavailable = all.filter((answer) => answer.kind === 'unavailable')
  return unavailable.length === all.length ? (unavailable[0]?.detail ?? null) : null
}

function judgeServer(answers: ServerAnswers): Check {
  const { server, absent, signed, durationMs } = answers
  const check = checkOf('resolver', server)
  const fault = faultOf(answers)
  if (fault !== null) {
    return check.failed(
      `gives no answers: ${fault}`,
      `Start it or let this machine ask it, or set VALIJA_DNS_SERVERS to others; ${ownResolver}.`,
    )
  }
  if (signed.every((answer) => answer.kind === 'unknown_name')) {
    return check.failed(
      'does not know names that exist: it knows a part of the DNS only, or nothing',
      `Let it ask the root servers or forward to one that does, or set VALIJA_DNS_SERVERS to another; ${ownResolver}.`,
    )
  }
  if (absent.kind === 'records') {
    return check.failed(
      `answers for names that do not exist (${absent.records.join(', ')}): mail to mistyped domains goes there, and every address looks blocklisted`,
      `Set VALIJA_DNS_SERVERS to a resolver that tells the truth; ${ownResolver}.`,
    )
  }
  if (absent.kind === 'unavailable') {
    return check.warning(
      `does not say that a missing name is missing: ${absent.detail}`,
      `Look at its log and its way to the name servers; ${ownResolver}.`,
    )
  }
  if (absent.kind === 'no_data') {
    return check.warning(
      'never says that a name does not exist (NODATA in the place of NXDOMAIN): mail to mistyped domains is tried until it expires',
      `Set VALIJA_DNS_SERVERS to a resolver that tells it; ${ownResolver}.`,
    )
  }
  const seen = `answers in ${Math.round(durationMs)} ms, and says what does not exist`
  if (durationMs < slowMs) return check.ok(seen)
  return check.warning(
    `takes ${Math.round(durationMs)} ms for an answer`,
    `Use a nearer resolver: ${ownResolver}.`,
  )
}

function judgeDnssec(all: readonly ServerAnswers[]): Check {
  const check = checkOf('dnssec')
  const answering = all.filter((one) => faultOf(one) === null)
  const validating = answering.filter(({ signed }) =>
    signed.some((answer) => answer.kind !== 'unavailable' && answer.isAuthenticated),
  )
  const names = (servers: readonly ServerAnswers[]) => servers.map(({ server }) => server).join(', ')
  if (validating.length === 0) {
    return check.warning(
      'no resolver validates: what receivers promise by DANE is not used (MTA-STS is)',
      `Use a resolver that validates DNSSEC: ${ownResolver}.`,
    )
  }
  if (validating.every(({ isTrusted }) => !isTrusted)) {
    return check.warning(
      `${names(validating)} validates, but the way to it is not known to be safe, so DANE is not used`,
      `If nobody between here and it can forge answers, name it in VALIJA_DNS_SERVERS; ${ownResolver}.`,
    )
  }
  if (validating.length === answering.length) return check.ok('the resolvers validate, so DANE is used')
  const others = answering.filter((one) => !validating.includes(one))
  return check.warning(
    `${names(others)} does not validate: while it answers in the place of the others, DANE is not used`,
    'Name only resolvers that validate.',
  )
}
