/**
 * A recipient's fate: what the end of one transaction means for the recipient, why, and whom it blames.
 *
 * In order: transport failure → success → refusals before MAIL (the host's fault) → 4xx and nonsense (try again) → 5xx about
 * the sender's reputation (try again) → other 5xx (bounced), read by enhanced status (RFC 3463) and, where that is missing or
 * vague, by its basic code.
 */
import type { SmtpReply } from '@valija/mail'
import type { BounceType } from './events.ts'
import type { RecipientEvent } from './recipient-state.ts'
import type { TransactionReport, TransportFailure } from './transaction.ts'

export const reasons = [
  'mailbox_unknown',
  'mailbox_full',
  'mailbox_disabled',
  'domain_unknown',
  'spam',
  'policy',
  'reputation',
  'authentication',
  'throttled',
  'greylisted',
  'size',
  'content',
  'protocol',
  'tls',
  'network',
  'expired',
  'internal',
  'rejected',
  'other',
] as const
export type Reason = (typeof reasons)[number]

/** Whom a failure blames: what else must not be tried before something changes. */
export type Blame =
  | 'none'
  | 'recipient'
  | 'message'
  | 'sending_domain'
  | 'source_ip'
  | 'route'
  | 'host'
  | 'destination'

export interface Disposition {
  event: Extract<RecipientEvent, 'deliver' | 'defer' | 'bounce' | 'fail'>
  reason: Reason | null
  bounceType: BounceType | null
  blame: Blame
}

const failures: Record<Exclude<TransportFailure, 'lease_lost'>, Disposition> = {
  name_unknown: { event: 'fail', reason: 'domain_unknown', bounceType: 'hard', blame: 'destination' },
  name_unavailable: { event: 'defer', reason: 'network', bounceType: null, blame: 'destination' },
  connection_refused: { event: 'defer', reason: 'network', bounceType: null, blame: 'host' },
  connection_timeout: { event: 'defer', reason: 'network', bounceType: null, blame: 'host' },
  address_refused: { event: 'fail', reason: 'rejected', bounceType: null, blame: 'destination' },
  connection_lost: { event: 'defer', reason: 'network', bounceType: null, blame: 'none' },
  timeout: { event: 'defer', reason: 'network', bounceType: null, blame: 'none' },
  tls: { event: 'defer', reason: 'tls', bounceType: null, blame: 'host' },
  protocol: { event: 'defer', reason: 'protocol', bounceType: null, blame: 'host' },
  login_refused: { event: 'defer', reason: 'authentication', bounceType: null, blame: 'route' },
  capability: { event: 'fail', reason: 'protocol', bounceType: null, blame: 'message' },
  too_large: { event: 'fail', reason: 'size', bounceType: null, blame: 'message' },
  compose: { event: 'fail', reason: 'internal', bounceType: null, blame: 'message' },
}

/**
 * Judges one transaction.
 *
 * @throws {Error} for `lease_lost`: a transaction that was not ours to make has no meaning for the recipient
 */
export function judge(report: Pick<TransactionReport, 'phase' | 'reply' | 'failure'>): Disposition {
  if (report.failure === 'lease_lost') throw new Error('a lost lease has no disposition')
  const { reply, phase } = report
  if (report.failure !== null) return judgeFailure(report.failure, phase)
  if (reply === null) return failures.connection_lost
  if (phase === 'body' && reply.code >= 200 && reply.code < 300) {
    return { event: 'deliver', reason: null, bounceType: null, blame: 'none' }
  }
  if (reply.code >= 500 && reply.code < 600) return judgeRefusal(phase, reply)
  if (reply.code >= 400 && reply.code < 500) {
    return {
      event: 'defer',
      reason: temporaryReason(reply),
      bounceType: null,
      blame: isEarly(phase) ? 'host' : 'none',
    }
  }
  return judgeFailure('protocol', phase)
}

/** A host that came as far as MAIL takes connections: what failed there is this mail's try, not the host's absence. */
function judgeFailure(
  failure: Exclude<TransportFailure, 'lease_lost'>,
  phase: TransactionReport['phase'],
): Disposition {
  const disposition = failures[failure]
  return disposition.blame === 'host' && !isEarly(phase) ? { ...disposition, blame: 'none' } : disposition
}

/** Before MAIL a refusal says nothing of the recipient: it blames the host. */
function isEarly(phase: TransactionReport['phase']): boolean {
  return phase !== 'mail' && phase !== 'rcpt' && phase !== 'data' && phase !== 'body'
}

/** What a 5xx at MAIL, RCPT or DATA that names our address's or domain's reputation or a blocklist looks like. */
const reputationText =
  /reputation|black[- ]?list|block[- ]?list|deny[- ]?list|\b(?:rbl|dnsbl)\b|spamhaus|spamcop|barracudacentral|sorbs|listed (?:at|in|on|by)|poor sender/i

function judgeRefusal(phase: TransactionReport['phase'], reply: SmtpReply): Disposition {
  if (phase === 'auth') return failures.login_refused
  if (isEarly(phase))
    return { event: 'defer', reason: temporaryReason(reply), bounceType: null, blame: 'host' }
  if (reputationText.test(reply.text)) {
    return { event: 'defer', reason: 'reputation', bounceType: 'block', blame: 'source_ip' }
  }
  const reason = permanentReason(phase, reply)
  const isBlock = reason === 'policy' || reason === 'spam' || reason === 'authentication'
  const isAboutRecipient = phase === 'rcpt' || reply.enhanced?.startsWith('5.1.') === true
  return {
    event: 'bounce',
    reason,
    bounceType: isBlock ? 'block' : isSoftRefusal(reason) ? 'soft' : 'hard',
    blame: isAboutRecipient ? 'recipient' : 'message',
  }
}

function isSoftRefusal(reason: Reason): boolean {
  return reason === 'mailbox_full' || reason === 'size' || reason === 'content' || reason === 'protocol'
}

/** Enhanced status without its class → reason (RFC 3463 §3, RFC 7372, RFC 7505). */
const permanentByStatus: Record<string, Reason> = {
  '1.0': 'mailbox_unknown',
  '1.1': 'mailbox_unknown',
  '1.2': 'domain_unknown',
  '1.3': 'mailbox_unknown',
  '1.6': 'mailbox_unknown',
  '1.10': 'domain_unknown',
  '2.0': 'mailbox_disabled',
  '2.1': 'mailbox_disabled',
  '2.2': 'mailbox_full',
  '2.3': 'size',
  '3.4': 'size',
  '4.1': 'network',
  '4.2': 'network',
  '4.3': 'network',
  '5.0': 'protocol',
  '5.1': 'protocol',
  '5.2': 'protocol',
  '5.4': 'protocol',
  '6.0': 'content',
  '6.1': 'content',
  '6.3': 'content',
  '6.6': 'content',
  '6.7': 'content',
}

function permanentReason(phase: TransactionReport['phase'], reply: SmtpReply): Reason {
  const subject = reply.enhanced?.slice(2) ?? null
  const known = subject === null ? undefined : permanentByStatus[subject]
  if (known !== undefined) return known
  if (subject?.startsWith('7.')) return 'policy'
  if (reply.code === 552) return phase === 'rcpt' ? 'mailbox_full' : 'size'
  if (
    phase === 'rcpt' &&
    subject === null &&
    (reply.code === 550 || reply.code === 551 || reply.code === 553)
  ) {
    return 'mailbox_unknown'
  }
  if (reply.code === 521 || reply.code === 556) return 'domain_unknown'
  if (reply.code >= 500 && reply.code <= 504) return 'protocol'
  return 'rejected'
}

function temporaryReason(reply: SmtpReply): Reason {
  const subject = reply.enhanced?.slice(2) ?? null
  if (/gr[ae]y-?list/i.test(reply.text)) return 'greylisted'
  if (subject === '2.2' || reply.code === 452) return subject === '3.1' ? 'throttled' : 'mailbox_full'
  if (reputationText.test(reply.text)) return 'reputation'
  return 'throttled'
}
