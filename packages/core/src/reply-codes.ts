/**
 * What the codes of a refusal say by themselves: its enhanced status (RFC 3463 §3 and the IANA registry that RFC 5248 opened),
 * and where that is missing or unknown its basic code (RFC 5321 §4.2.2).
 */
import type { SmtpReply } from '@valija/mail'
import type { Blame } from './disposition.ts'
import type { Reason } from './reasons.ts'
import type { Phase } from './transaction.ts'

export interface CodeMeaning {
  reason: Reason
  /** Null: follows from the reason. */
  blame: Blame | null
}

type StatusMeaning = CodeMeaning & {
  /** Servers say it for many things, or it says little by itself: the reason is the likeliest. */
  isVague: boolean
}

const told = (reason: Reason, blame: Blame | null = null): StatusMeaning => ({
  reason,
  blame,
  isVague: false,
})
const likely = (reason: Reason, blame: Blame | null = null): StatusMeaning => ({
  reason,
  blame,
  isVague: true,
})

/** Subject and detail → meaning, whatever the class. */
const byStatus: Readonly<Record<string, StatusMeaning>> = {
  // Addresses (§3.2). 1.9 and 1.10: RFC 3886, RFC 7505.
  '1.0': likely('mailbox_unknown'),
  '1.1': told('mailbox_unknown'),
  '1.2': told('domain_unknown'),
  '1.3': told('mailbox_unknown'),
  '1.4': likely('mailbox_unknown'),
  '1.6': told('mailbox_unknown'),
  '1.7': told('policy', 'sending_domain'),
  '1.8': told('policy', 'sending_domain'),
  '1.10': told('domain_unknown'),
  // Mailboxes (§3.3).
  '2.0': likely('mailbox_disabled'),
  '2.1': told('mailbox_disabled'),
  '2.2': told('mailbox_full'),
  '2.3': told('size'),
  '2.4': told('other'),
  // The receiving system (§3.4).
  '3.0': told('other'),
  '3.1': told('other'),
  '3.2': told('throttled'),
  '3.3': told('protocol'),
  '3.4': told('size'),
  '3.5': told('other'),
  // Network and routing (§3.5).
  '4.0': told('network'),
  '4.1': told('network'),
  '4.2': told('network'),
  '4.3': told('network'),
  '4.4': told('network'),
  '4.5': told('throttled'),
  '4.6': told('other'),
  '4.7': told('network'),
  // The mail delivery protocol (§3.6).
  '5.0': told('protocol'),
  '5.1': told('protocol'),
  '5.2': told('protocol'),
  '5.3': told('throttled'),
  '5.4': told('protocol'),
  '5.5': told('protocol'),
  '5.6': told('protocol'),
  // Content (§3.7); 6.7 to 6.10: addresses and headers outside ASCII (RFC 6531 §3.5).
  '6.0': told('content'),
  '6.1': told('content'),
  '6.2': told('content'),
  '6.3': told('content'),
  '6.4': told('content'),
  '6.5': told('content'),
  '6.6': told('content'),
  '6.7': told('protocol', 'message'),
  '6.8': told('protocol', 'message'),
  '6.9': told('protocol', 'message'),
  '6.10': told('protocol', 'message'),
  // Security (§3.8), encryption (RFC 5248 registry), authentication (RFC 7372), null MX of the sender (RFC 7505), REQUIRETLS (RFC 8689).
  '7.10': told('tls'),
  '7.11': told('tls'),
  '7.20': told('authentication'),
  '7.21': told('authentication'),
  '7.22': told('authentication'),
  '7.23': told('authentication'),
  '7.24': told('authentication'),
  '7.25': told('authentication', 'source_ip'),
  '7.26': told('authentication'),
  '7.27': told('policy', 'sending_domain'),
  '7.28': told('throttled'),
  '7.30': told('tls'),
}

/** Null when the reply has no status, or one that says nothing. */
export function reasonByStatus({ code, enhanced }: SmtpReply): StatusMeaning | null {
  if (enhanced === null) return null
  const isFinal = enhanced.startsWith('5.')
  const subject = enhanced.slice(2)
  // For good, a system's trouble is no trouble that passes, and a next hop that is not known is no outage.
  if (isFinal && /^3\.[0125]$/.test(subject)) return likely('rejected')
  if (isFinal && subject === '4.4') return likely('domain_unknown')
  // For now, neither is an address unknown nor a mailbox disabled: the server could not find out, or will take it later.
  if (!isFinal && /^(?:1\.[0-6]|2\.[01]|5\.0)$/.test(subject)) return likely('other')
  const meaning = byStatus[subject]
  if (meaning !== undefined) return meaning
  if (!subject.startsWith('7.')) return null
  return likely(code === 421 ? 'throttled' : 'policy')
}

/** The reason that the basic code suggests. Always a guess: servers use 550 and 451 for everything. */
export function reasonByCode({ code }: SmtpReply, phase: Phase): CodeMeaning {
  const reason = code >= 500 ? permanentReason(code, phase) : temporaryReason(code, phase)
  return { reason, blame: null }
}

function permanentReason(code: number, phase: Phase): Reason {
  if (code === 552) return phase === 'rcpt' ? 'mailbox_full' : 'size'
  if (code === 521 || code === 556)
    return phase === 'rcpt' || phase === 'mail' ? 'domain_unknown' : 'rejected'
  if (code === 530) return 'policy'
  if (code === 535) return 'authentication'
  // Behind the body there is no command left to misunderstand.
  if (phase !== 'body' && ((code >= 500 && code <= 504) || code === 555)) return 'protocol'
  return 'rejected'
}

function temporaryReason(code: number, phase: Phase): Reason {
  if (code === 421) return 'throttled'
  if (code === 452 && phase === 'rcpt') return 'mailbox_full'
  if (code === 454 && phase === 'tls') return 'tls'
  return 'other'
}
