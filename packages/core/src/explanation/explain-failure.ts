/** What the last attempt met: the cause, how the reply was read, what stands behind it, and what cures it. */
import { type Reason, reasonMeanings, reasons } from '../reasons.ts'
import type { Phase, TransportFailure } from '../transaction.ts'
import type { Cause, CauseKind, Finding } from './cause-kinds.ts'
import type { AttemptFacts, ExplanationFacts } from './facts.ts'
import { remedyFor } from './failure-remedies.ts'
import { asSentence, atTime, inWords, quoted, withCapital, withStop } from './words.ts'

/** @returns null when nothing has failed so far */
export function explainFailure(facts: ExplanationFacts): Finding | null {
  const { recipient, lastAttempt: attempt } = facts
  const reason = asReason(attempt?.outcome === 'delivered' ? recipient.reason : (attempt?.reason ?? null))
  if (reason === null) return null
  const isOfAttempt = attempt !== null && attempt.outcome !== 'delivered'
  if (isOfAttempt && isNotRepeated(attempt)) return explainNotRepeated(facts, attempt, reason)
  const main = isOfAttempt ? causeOfAttempt(facts, attempt, reason) : causeOfReport(facts, reason)
  return {
    because: [main, ...(isOfAttempt ? besides(facts, attempt, main.kind, reason) : [])],
    remedy: remedyFor(facts, main.kind, reason),
  }
}

function isNotRepeated({ isUncertain, judgement }: AttemptFacts): boolean {
  return (
    isUncertain && judgement?.action === 'fail' && !['crash', 'restored'].includes(judgement.failure ?? '')
  )
}

function explainNotRepeated(facts: ExplanationFacts, attempt: AttemptFacts, reason: Reason): Finding {
  const detail =
    'The whole mail was handed over and no reply came, so it may have been delivered. It is not sent again, because the tenant is set to at_most_once.'
  return {
    because: [{ kind: 'at_most_once', detail }, causeOfAttempt(facts, attempt, reason)],
    remedy: remedyFor(facts, 'at_most_once', reason),
  }
}

function asReason(text: string | null): Reason | null {
  return reasons.find((reason) => reason === text) ?? null
}

/** A bounce that came after the mail had been taken. */
function causeOfReport({ recipient }: ExplanationFacts, reason: Reason): Cause {
  const words = recipient.reply === null ? '' : `: ${quoted(recipient.reply)}`
  return {
    kind: reason,
    detail: `${asSentence(`the mail was taken, and came back later${words}`)} ${reasonMeanings[reason].meaning}`,
  }
}

/** All that is recorded: a lost lease is no attempt. */
type KnownFailure = Exclude<TransportFailure, 'lease_lost'>

const kindByFailure: Record<KnownFailure, CauseKind> = {
  name_unknown: 'domain_unknown',
  name_doubtful: 'domain_unknown',
  null_mx: 'null_mx',
  name_unavailable: 'name_unavailable',
  connection_refused: 'connection_refused',
  connection_timeout: 'connection_timeout',
  no_socket: 'internal',
  address_refused: 'address_refused',
  connection_lost: 'connection_lost',
  timeout: 'timeout',
  tls: 'tls',
  protocol: 'protocol',
  login_refused: 'login_refused',
  capability: 'capability',
  too_large: 'size',
  worker_lost: 'connection_lost',
  restored: 'restored',
  crash: 'crashed_workers',
  compose: 'internal',
  sign: 'signing',
}

function causeOfAttempt(facts: ExplanationFacts, attempt: AttemptFacts, reason: Reason): Cause {
  const failure = attempt.judgement?.failure ?? null
  if (failure !== null) {
    if (isKnown(failure)) {
      return { kind: kindByFailure[failure], detail: describeFailure(facts, attempt, failure) }
    }
    return {
      kind: reason,
      detail: `${asSentence(attempt.reply ?? failure)} ${reasonMeanings[reason].meaning}`,
    }
  }
  const kind = attempt.judgement?.action === 'pause_route' ? 'login_refused' : reason
  const words =
    attempt.reply === null
      ? 'gave no reply that is on record'
      : `answered ${quoted(attempt.reply)} ${placeOf[attempt.phase]}`
  return { kind, detail: `${asSentence(`${serverOf(attempt)} ${words}`)} ${reasonMeanings[reason].meaning}` }
}

/** Not one that a worker of a later version has recorded, while this one still runs. */
function isKnown(failure: TransportFailure): failure is KnownFailure {
  return Object.hasOwn(kindByFailure, failure)
}

/** Where in the conversation. */
const placeOf: Record<Phase, string> = {
  dns: 'before the connection',
  connect: 'to the connection',
  greeting: 'in place of a greeting',
  tls: 'to STARTTLS',
  ehlo: 'to EHLO',
  auth: 'to the login',
  mail: 'to the sender’s address (MAIL FROM)',
  rcpt: 'to the recipient’s address (RCPT TO)',
  data: 'when the mail was to begin (DATA)',
  body: 'to the whole mail',
}

/** `mx.example.org (192.0.2.1)`, `the relay smtp.example.com (route main)`. */
export function serverOf({
  host,
  ip,
  isRelay,
  route,
}: Pick<AttemptFacts, 'host' | 'ip' | 'isRelay' | 'route'>): string {
  if (host === null) return isRelay ? `the relay of the route ${route}` : 'the receiving server'
  const place = ip === null || ip === host ? host : `${host} (${ip})`
  return isRelay ? `the relay ${place} of the route ${route}` : place
}

function describeFailure(
  { recipient }: ExplanationFacts,
  attempt: AttemptFacts,
  failure: KnownFailure,
): string {
  const server = serverOf(attempt)
  const said = attempt.reply ?? failure
  const port = attempt.port === null ? '' : ` on port ${attempt.port}`
  switch (failure) {
    case 'name_unknown':
    case 'name_doubtful':
      return `The DNS knows no server that takes mail for ${recipient.domain}: ${withStop(said)}`
    case 'null_mx':
      return asSentence(said)
    case 'name_unavailable':
      return `Where ${recipient.domain} takes mail could not be looked up: ${withStop(said)}`
    case 'connection_refused':
    case 'connection_timeout':
      return `No connection to ${server}${port}: ${withStop(said)}`
    case 'address_refused':
      return `${asSentence(said)} Mail is not sent into private networks unless the operator allows them.`
    case 'connection_lost':
      return `The connection to ${server} broke ${lostAt[attempt.phase] ?? ''}: ${withStop(said)}`
    case 'timeout':
      return `${asSentence(`${server} was silent ${lostAt[attempt.phase] ?? ''}`)} ${asSentence(said)}`
    case 'tls':
      return `Encryption with ${server} was not possible as it is demanded: ${withStop(said)}`
    case 'protocol':
      return `${asSentence(`${server} did not speak SMTP as it should`)} ${asSentence(said)}`
    case 'login_refused':
      return `${asSentence(`${server} refused the login: ${quoted(said)}`)} Mail that goes by it is kept.`
    case 'crash':
    case 'no_socket':
    case 'worker_lost':
    case 'restored':
    case 'compose':
    case 'sign':
      return asSentence(said)
    case 'capability':
    case 'too_large':
      return `${withCapital(server)}: ${withStop(said)}`
  }
}

/** How far the conversation had come. */
const lostAt: Partial<Record<Phase, string>> = {
  connect: 'as it was made',
  greeting: 'before the greeting',
  tls: 'while encryption was set up',
  ehlo: 'at EHLO',
  auth: 'at the login',
  mail: 'at the sender’s address (MAIL FROM)',
  rcpt: 'at the recipient’s address (RCPT TO)',
  data: 'before the mail itself (DATA)',
  body: 'while the mail was handed over',
}

/** What stands behind the cause or beside it. */
function besides(facts: ExplanationFacts, attempt: AttemptFacts, kind: CauseKind, reason: Reason): Cause[] {
  const causes: Cause[] = []
  if (kind === 'tls') causes.push(...tlsDemands(facts, attempt))
  if (aboutSender.has(reason) && kind !== 'login_refused') causes.push(...senderFaults(facts))
  const reading = readingOf(attempt, reason)
  if (reading !== null) causes.push({ kind: 'rule', detail: reading })
  if (kind === 'crashed_workers' && attempt.isUncertain) {
    const detail =
      'The last process that had it was about to send the end of the mail, or had sent it: it may have been delivered.'
    causes.push({ kind: 'uncertain', detail })
  } else if (kind !== 'restored' && facts.uncertainAttempts > 0) causes.push(uncertainCause(facts))
  return causes
}

const aboutSender: ReadonlySet<Reason> = new Set(['authentication', 'spam', 'policy', 'reputation'])

function tlsDemands({ message, recipient, hasStsPolicy }: ExplanationFacts, { tls }: AttemptFacts): Cause[] {
  const causes: Cause[] = []
  if (message.requireTls) {
    causes.push({
      kind: 'require_tls',
      detail: 'The message was sent with require_tls: over verified TLS, or not at all.',
    })
  }
  if (tls?.policy === 'mta-sts' || (tls === null && hasStsPolicy)) {
    const where = `https://mta-sts.${recipient.domain}/.well-known/mta-sts.txt`
    causes.push({
      kind: 'mta_sts',
      detail: `${recipient.domain} demands verified TLS by its MTA-STS policy at ${where}.`,
    })
  }
  if (tls?.policy === 'dane') {
    causes.push({
      kind: 'dane',
      detail: `TLSA records in the DNS (DANE) say which certificate the server must have.`,
    })
  }
  return causes
}

export function senderFaults({ sender, message }: ExplanationFacts): Cause[] {
  if (sender === null) return []
  const { name, isVouched, signsDkim, fault } = sender
  if (isVouched && !signsDkim) {
    const detail = `Mail from ${message.fromDomain} leaves without a DKIM signature: the operator vouches for ${name} without "dkim": true.`
    return [{ kind: 'domain_unsigned', detail }]
  }
  if (fault === null) return []
  return [{ kind: 'dns_records', detail: withStop(`The DNS record ${fault.name} ${fault.sentence}`) }]
}

/** How the reply became the reason; null when no reply decided. */
function readingOf({ judgement, reply }: AttemptFacts, reason: Reason): string | null {
  if (judgement === null || judgement.failure !== null || reply === null) return null
  const { evidence, taughtBy } = judgement
  if (evidence === 'rule') {
    return `Read as ${reason} by a rule that was learned from replies such as ${quoted((taughtBy ?? '').replaceAll('\n', ' '))}.`
  }
  if (evidence === 'status') return `Read as ${reason} by its enhanced status (RFC 3463).`
  return `Read as ${reason} by its code alone, which says little: trust the server’s words more.`
}

export function uncertainCause({ uncertainAttempts }: Pick<ExplanationFacts, 'uncertainAttempts'>): Cause {
  const times = uncertainAttempts === 1 ? 'Once' : `${uncertainAttempts} times`
  const detail = `${times} the whole mail was handed over and no reply came. It is tried again with the same Message-ID, so it may arrive twice.`
  return { kind: 'uncertain', detail }
}

/** For what is tried again: how often it was tried, and when the next time is. */
export function scheduleCause({ recipient, message, nowMs }: ExplanationFacts, nextMs: number): Cause {
  const tries = recipient.attempts === 1 ? 'once' : `${recipient.attempts} times`
  const left = inWords(Math.max(0, message.expiresAtMs - nowMs))
  return {
    kind: 'retry_schedule',
    detail: `It was tried ${tries}; the next attempt is at ${atTime(nextMs, nowMs)}. It is given up in ${left}.`,
  }
}
