/**
 * A recipient's fate: what the end of one transaction means for the recipient, why, whom it blames, and what to do next.
 *
 * What happened decides in this order, first to last:
 *
 *   transport failure → success → nonsense → a rule for the reply's text (`rules/replies.yaml`) → its enhanced status
 *   (RFC 3463) → its basic code (RFC 5321 §4.2.2)
 *
 * Text before status, because servers choose their words with more care: over the tables of samples in `rules`, with the status
 * first, one reason in twenty is wrong, and three recipients would be suppressed for nothing.
 *
 * That gives the reason. The event follows from reason, code and phase by the contract (DESIGN 2, "Shapes"), and no rule changes
 * that: before MAIL everything is deferred, a 4xx is deferred, a 5xx about reputation is deferred, a 5xx about the recipient or
 * the message is bounced.
 */
import type { SmtpReply } from '@valija/mail'
import type { BounceType } from './events.ts'
import { type Reason, reasonMeanings } from './reasons.ts'
import type { RecipientEvent } from './recipient-state.ts'
import { reasonByCode, reasonByStatus } from './reply-codes.ts'
import type { ReplyRule, RuleMeaning } from './reply-rules.ts'
import type { Phase, TransactionReport, TransportFailure } from './transaction.ts'

/** Whom a failure blames: what else must not be tried before something changes. */
export const blames = [
  'none',
  'recipient',
  'message',
  'sending_domain',
  'tenant',
  'source_ip',
  'route',
  'host',
  'destination',
] as const
export type Blame = (typeof blames)[number]

/** What is done next with the recipient. All that begin with `retry` are due again by the reason's schedule. */
export const actions = [
  /** It is delivered. */
  'done',
  'retry',
  /** Greylisting: only the same address, return path and recipient together are let in later. */
  'retry_same_source',
  /** This source address is refused: another one may do better. */
  'retry_other_source',
  /** This route is refused, whatever address it leaves from: another one may do better. */
  'retry_other_route',
  /** Nothing goes by this route before somebody mends it; the mail is kept (W19). */
  'pause_route',
  /** It has ended. */
  'fail',
] as const
export type Action = (typeof actions)[number]

export interface Disposition {
  event: Extract<RecipientEvent, 'deliver' | 'defer' | 'bounce' | 'fail'>
  /** Null when delivered. */
  reason: Reason | null
  /** Null unless it was refused. */
  bounceType: BounceType | null
  blame: Blame
  action: Action
  /**
   * What the reason rests on. `guess`: only on a code or status that says little, so nothing that outlasts this mail may
   * follow from it.
   */
  evidence: 'success' | 'failure' | 'rule' | 'status' | 'guess'
  /** The line that taught the rule; null unless `evidence` is `rule`. */
  taughtBy: string | null
}

export type JudgedReport = Pick<TransactionReport, 'phase' | 'reply' | 'failure' | 'host'>

/**
 * Judges one transaction.
 *
 * @throws {Error} for `lease_lost`: a transaction that was not ours to make has no meaning for the recipient
 */
export type Judge = (report: JudgedReport) => Disposition

/** @param rules of which the first that matches decides */
export function createJudge(rules: readonly ReplyRule[]): Judge {
  return ({ phase, reply, failure, host }) => {
    if (failure === 'lease_lost') throw new Error('a lost lease has no disposition')
    if (failure !== null) return judgeFailure(failure, phase)
    if (reply === null) return judgeFailure('connection_lost', phase)
    if (phase === 'body' && reply.code >= 200 && reply.code < 300) return delivered
    if (reply.code < 400 || reply.code > 599) return judgeFailure('protocol', phase)
    if (phase === 'auth' && reply.code >= 500) return judgeFailure('login_refused', phase)
    return judgeRefusal(phase, reply, readRefusal(rules, phase, reply, host))
  }
}

const delivered: Disposition = {
  event: 'deliver',
  reason: null,
  bounceType: null,
  blame: 'none',
  action: 'done',
  evidence: 'success',
  taughtBy: null,
}

const failures: Record<
  Exclude<TransportFailure, 'lease_lost'>,
  readonly [event: 'defer' | 'fail', reason: Reason, blame: Blame]
> = {
  name_unknown: ['fail', 'domain_unknown', 'destination'],
  name_doubtful: ['defer', 'domain_unknown', 'destination'],
  null_mx: ['fail', 'domain_unknown', 'destination'],
  name_unavailable: ['defer', 'network', 'destination'],
  connection_refused: ['defer', 'network', 'host'],
  connection_timeout: ['defer', 'network', 'host'],
  no_socket: ['defer', 'internal', 'none'],
  address_refused: ['fail', 'rejected', 'destination'],
  connection_lost: ['defer', 'network', 'none'],
  timeout: ['defer', 'network', 'none'],
  tls: ['defer', 'tls', 'host'],
  protocol: ['defer', 'protocol', 'host'],
  login_refused: ['defer', 'authentication', 'route'],
  capability: ['fail', 'protocol', 'message'],
  too_large: ['fail', 'size', 'message'],
  worker_lost: ['defer', 'network', 'none'],
  restored: ['fail', 'network', 'none'],
  crash: ['fail', 'internal', 'message'],
  compose: ['fail', 'internal', 'message'],
  sign: ['defer', 'internal', 'sending_domain'],
}

function judgeFailure(failure: Exclude<TransportFailure, 'lease_lost'>, phase: Phase): Disposition {
  const [event, reason, blame] = failures[failure]
  return {
    event,
    reason,
    bounceType: reason === 'domain_unknown' && event === 'fail' ? 'hard' : null,
    // A host that came as far as MAIL takes connections: what failed there is this mail's try, not the host's absence.
    blame: blame === 'host' && !isEarly(phase) ? 'none' : blame,
    action: event === 'fail' ? 'fail' : failure === 'login_refused' ? 'pause_route' : 'retry',
    evidence: 'failure',
    taughtBy: null,
  }
}

/**
 * The same for a tenant that chose at_most_once (DESIGN 4.5): what may have arrived is not sent again, so its recipient ends here.
 *
 * @param isUncertain whether the whole mail was handed over and no reply was read
 */
export function withoutRepeat(disposition: Disposition, isUncertain: boolean): Disposition {
  if (!isUncertain || disposition.event !== 'defer') return disposition
  return { ...disposition, event: 'fail', action: 'fail' }
}

/** Before MAIL a refusal says nothing of the recipient or the message. */
function isEarly(phase: Phase): boolean {
  return phase !== 'mail' && phase !== 'rcpt' && phase !== 'data' && phase !== 'body'
}

/** A refusal's reason, and what it rests on. */
export type Reading = RuleMeaning & Pick<Disposition, 'evidence' | 'taughtBy'>

/** What a refusal says, by its words, its status and its code, before the contract is asked what follows. */
export function readRefusal(
  rules: readonly ReplyRule[],
  phase: Phase,
  given: SmtpReply,
  host: string | null,
): Reading {
  const reply = withStatusOfText(given)
  const rule = rules.find((candidate) => candidate.matches(reply, phase, host))
  if (rule !== undefined) return { ...rule, evidence: 'rule', taughtBy: rule.lines[0] ?? null }
  const plain = { action: null, bounceType: null, taughtBy: null }
  const byStatus = reasonByStatus(reply)
  if (byStatus === null) return { ...plain, ...reasonByCode(reply, phase), evidence: 'guess' }
  return { ...plain, ...byStatus, evidence: byStatus.isVague ? 'guess' : 'status' }
}

/** qmail, IronPort and others put the status into the text: `550 sorry, no mailbox here by that name. (#5.1.1)`. */
function withStatusOfText(reply: SmtpReply): SmtpReply {
  if (reply.enhanced !== null) return reply
  const status = /#([45])\.(\d{1,3})\.(\d{1,3})\b/.exec(reply.text)
  if (status === null || status[1] !== String(reply.code)[0]) return reply
  return { ...reply, enhanced: status[0].slice(1) }
}

/** The contract: what a 4xx or 5xx for this reason does to the recipient. */
function judgeRefusal(phase: Phase, reply: SmtpReply, reading: Reading): Disposition {
  const reason = reasonAt(phase, reading.reason)
  const isFinal = reply.code >= 500 && !isEarly(phase) && isAboutThisMail(reply, reading)
  return {
    event: isFinal ? 'bounce' : 'defer',
    reason,
    bounceType: isFinal || reason === 'reputation' ? (reading.bounceType ?? bounceTypeOf(reason)) : null,
    blame: isEarly(phase) ? 'host' : (reading.blame ?? blameOf(reason, phase)),
    action: isFinal ? 'fail' : (reading.action ?? actionOf(reason)),
    evidence: reading.evidence,
    taughtBy: reading.taughtBy,
  }
}

/** The recipient is known only from RCPT on: what a server says of a mailbox before is about the sender's. */
function reasonAt(phase: Phase, reason: Reason): Reason {
  if (phase === 'rcpt' || phase === 'data' || phase === 'body' || !reason.startsWith('mailbox_'))
    return reason
  return phase === 'mail' ? 'policy' : 'rejected'
}

/**
 * Whether a 5xx after MAIL is about the recipient or the message, and so final. It is not where it names our reputation, asks for a
 * login that the route lacks (W19), or, outside 5.7.x, where the server has too much to do, puts us off, or refuses the route.
 */
function isAboutThisMail(reply: SmtpReply, { reason, blame, action }: Reading): boolean {
  if (reason === 'reputation' || action === 'pause_route') return false
  if (reply.enhanced?.startsWith('5.7.') || blame === 'recipient' || blame === 'message') return true
  return reason !== 'throttled' && reason !== 'greylisted' && blame !== 'route' && blame !== 'host'
}

function bounceTypeOf(reason: Reason): BounceType {
  return reasonMeanings[reason].bounceType
}

const blameByReason: Partial<Record<Reason, Blame>> = {
  mailbox_unknown: 'recipient',
  mailbox_full: 'recipient',
  mailbox_disabled: 'recipient',
  domain_unknown: 'destination',
  spam: 'message',
  size: 'message',
  content: 'message',
  authentication: 'sending_domain',
  reputation: 'source_ip',
  throttled: 'destination',
  greylisted: 'none',
  tls: 'none',
  network: 'none',
  other: 'none',
}

/** Reasons without a culprit of their own blame what the server had just been told. */
function blameOf(reason: Reason, phase: Phase): Blame {
  const byPhase = phase === 'mail' ? 'sending_domain' : phase === 'rcpt' ? 'recipient' : 'message'
  return blameByReason[reason] ?? byPhase
}

function actionOf(reason: Reason): Action {
  if (reason === 'greylisted') return 'retry_same_source'
  return reason === 'reputation' ? 'retry_other_source' : 'retry'
}
