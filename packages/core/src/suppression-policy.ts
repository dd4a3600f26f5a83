/**
 * Which addresses are not sent to any more (DESIGN 4.19): what a receiving server said of a mailbox, and when that is enough.
 *
 * A wrong suppression loses mail without a word, so an answer is believed at once only when nothing speaks against it. Where
 * something does, the address is quarantined: people see it, and it stops nothing until it is confirmed. Policy, reputation,
 * content and rate say nothing of a mailbox, and never come here.
 */
import type { Disposition } from './disposition.ts'
import type { Reason } from './reasons.ts'
import type { TransactionReport } from './transaction.ts'

/** What a server can say of a mailbox that is a reason to leave it alone. */
export const mailboxFaults = [
  'mailbox_unknown',
  'mailbox_disabled',
  'mailbox_full',
] as const satisfies readonly Reason[]
export type MailboxFault = (typeof mailboxFaults)[number]

/** Why an address is suppressed: a person said so, its mailbox, or its owner. The last two hold for one stream. */
export const suppressionReasons = ['manual', ...mailboxFaults, 'complaint', 'unsubscribe'] as const
export type SuppressionReason = (typeof suppressionReasons)[number]

/** removed: it was on the list. */
export const suppressionStatuses = ['active', 'quarantined', 'removed'] as const
export type SuppressionStatus = (typeof suppressionStatuses)[number]

/** How an entry went: by its id, together with others of a provider's bad day, or by its owner on the page of a link. */
export const removalHows = ['deleted', 'undone', 'resubscribed'] as const
export type RemovalHow = (typeof removalHows)[number]

const dayMs = 86_400_000

/** The numbers of the policy. */
export const suppressionRules = {
  /** Disabled and full mailboxes: this many mails, within this time, and none taken in between. */
  faultsNeeded: 3,
  faultWindowMs: 14 * dayMs,
  /** A provider that denies this many mailboxes in this time, and more than so many times as many as usual, is not believed. */
  burstRecipients: 20,
  burstWindowMs: 10 * 60_000,
  burstFactor: 3,
  /** An address that took mail within this time is not believed to be gone. */
  recentDeliveryMs: 30 * dayMs,
  /** A quarantined address is confirmed by an answer that comes this much later. */
  confirmedAfterMs: dayMs,
} as const

/**
 * What the end of a transaction says of the recipient's mailbox; null when it says nothing of it.
 *
 * Only a refusal for good counts, and only where it is about this recipient: at RCPT, or after DATA, which carries one recipient.
 * A reason that is only guessed from a code or a vague status, such as a bare 550, says too little.
 */
export function mailboxFaultOf(
  { event, reason, evidence }: Pick<Disposition, 'event' | 'reason' | 'evidence'>,
  phase: TransactionReport['phase'],
): MailboxFault | null {
  const isAboutRecipient = phase === 'rcpt' || phase === 'data' || phase === 'body'
  return event === 'bounce' && isAboutRecipient && evidence !== 'guess' ? asMailboxFault(reason) : null
}

/**
 * What the end of a mail whose time is over says of the mailbox, by the reason of its last attempt: a mailbox that was full or
 * disabled for all that time counts like one refusal. That it is unknown is never concluded from answers for the time being.
 */
export function mailboxFaultOfExpiry(lastReason: string | null): MailboxFault | null {
  return lastReason === 'mailbox_unknown' ? null : asMailboxFault(lastReason)
}

function asMailboxFault(reason: string | null): MailboxFault | null {
  return mailboxFaults.find((fault) => fault === reason) ?? null
}

/** What is known of an address when a mail to it has ended with a mailbox fault. */
export interface MailboxHistory {
  /** Mails that ended with a fault of this kind in `faultWindowMs` and since one was taken, this one included. */
  faults: number
  /** Since when the address is quarantined, in milliseconds; null when it is not. */
  quarantinedForMs: number | null
  /** How long ago it last took a mail, in milliseconds; null when that is not remembered. */
  deliveredMsAgo: number | null
  /** Whether its provider denies so many mailboxes that it is not believed. */
  isBurst: boolean
}

/** `none`: nothing changes; what is quarantined stays so. */
export type MailboxVerdict = 'suppress' | 'quarantine' | 'none'

/** What follows from a mailbox fault, for an address that is not suppressed yet. */
export function judgeMailbox(fault: MailboxFault, history: MailboxHistory): MailboxVerdict {
  const { faults, quarantinedForMs, deliveredMsAgo, isBurst } = history
  const hasEnough = faults >= suppressionRules.faultsNeeded
  if (fault !== 'mailbox_unknown') return hasEnough ? 'suppress' : 'none'
  // One that took a mail while it was quarantined begins anew.
  const isHeld = quarantinedForMs !== null && (deliveredMsAgo === null || deliveredMsAgo >= quarantinedForMs)
  if (isBurst) return isHeld ? 'none' : 'quarantine'
  if (isHeld) {
    return hasEnough || quarantinedForMs >= suppressionRules.confirmedAfterMs ? 'suppress' : 'none'
  }
  const isRecent = deliveredMsAgo !== null && deliveredMsAgo <= suppressionRules.recentDeliveryMs
  return isRecent ? 'quarantine' : 'suppress'
}

/**
 * Whether a provider denies mailboxes as only a fault of its own explains.
 *
 * @param recent addresses that it has denied in `burstWindowMs`
 * @param usual addresses that it denies in such a time, as a rule
 */
export function isBurst(recent: number, usual: number): boolean {
  return recent >= suppressionRules.burstRecipients && recent > suppressionRules.burstFactor * usual
}
