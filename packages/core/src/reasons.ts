/**
 * Why a recipient waits or has failed: the reasons, what each means in plain words, who can mend it and how.
 *
 * `explain`, events and docs/reasons.md (tools/generate-reasons.ts) have no other source for these sentences. A reason's name is
 * published and never changes; its sentences may.
 */
import type { BounceType } from './events.ts'

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

/** Who has to do something before it gets better; `nobody`: waiting is enough. */
export type Actor = 'sender' | 'recipient' | 'receiver' | 'operator' | 'nobody'

/** When a recipient goes to the suppression list by what a server answered (DESIGN 4.19). */
export type SuppressionRule = 'at_once' | 'third_in_14_days' | 'never'

export interface ReasonMeaning {
  /** What has happened, as a sentence to somebody who does not know SMTP. */
  meaning: string
  /** What to do, as a sentence to whoever acts. */
  remedy: string
  actor: Actor
  suppression: SuppressionRule
  /** How a bounce for this reason is to be read. */
  bounceType: BounceType
}

export const reasonMeanings: Readonly<Record<Reason, ReasonMeaning>> = {
  mailbox_unknown: {
    meaning: 'The receiving server says that this address does not exist there.',
    remedy: 'Check the address for a typing error and remove it from your data; do not send to it again.',
    actor: 'sender',
    suppression: 'at_once',
    bounceType: 'hard',
  },
  mailbox_full: {
    meaning: 'The mailbox exists but has no room for another mail.',
    remedy:
      'The recipient has to make room. A deferred mail is tried again by itself until its time is over; after a bounce, reach them some other way.',
    actor: 'recipient',
    suppression: 'third_in_14_days',
    bounceType: 'soft',
  },
  mailbox_disabled: {
    meaning: 'The mailbox exists but takes no mail: it was closed, locked or not used for long.',
    remedy: 'Ask the recipient for another address; this one comes back only if its owner reopens it.',
    actor: 'recipient',
    suppression: 'third_in_14_days',
    bounceType: 'hard',
  },
  domain_unknown: {
    meaning: 'The domain of the address does not exist, or says that it takes no mail.',
    remedy:
      'Check the part after the @ for a typing error. If the domain is right, its owner has to publish MX records.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'hard',
  },
  spam: {
    meaning: 'The receiving server’s filter took this mail for spam.',
    remedy:
      'Look at what the mail says and links to, and that it comes signed and wanted; the server’s reply may name a page with its reasons.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'block',
  },
  policy: {
    meaning:
      'A rule of the receiving server forbids this mail, such as one about who may write to this recipient.',
    remedy:
      'Read the reply: it says which rule. The recipient or the postmaster of the receiving domain can allow the sender.',
    actor: 'receiver',
    suppression: 'never',
    bounceType: 'block',
  },
  reputation: {
    meaning:
      'The receiving server refuses our address or the sender’s domain for its reputation, or because it is on a blocklist.',
    remedy:
      'The operator has to find out what was sent from there, stop it, and ask the blocklist or provider named in the reply for removal; the mail is kept and tried again meanwhile.',
    actor: 'operator',
    suppression: 'never',
    bounceType: 'block',
  },
  authentication: {
    meaning:
      'The receiving server could not verify who sent this: SPF, DKIM, DMARC or the name of our address, or the relay refused our login.',
    remedy:
      'Publish the DNS records that GET /domains/:id lists as missing or wrong; for a login, put the route’s user and password right; for the name of our address, set its PTR record.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'block',
  },
  throttled: {
    meaning:
      'The receiving server takes no more mail from us, or for this recipient, for the moment: too much, too fast, or it is too busy.',
    remedy: 'Nothing has to be done: Valija slows down for this destination and tries again.',
    actor: 'nobody',
    suppression: 'never',
    bounceType: 'soft',
  },
  greylisted: {
    meaning:
      'The receiving server puts off mail from senders that it does not know yet, to see whether they come back.',
    remedy: 'Nothing has to be done: Valija comes back from the same address after some minutes.',
    actor: 'nobody',
    suppression: 'never',
    bounceType: 'soft',
  },
  size: {
    meaning: 'The mail is larger than the receiving server takes.',
    remedy: 'Send a smaller mail: put large attachments behind a link.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'soft',
  },
  content: {
    meaning:
      'The receiving server refuses something in this mail: a kind of attachment, a virus it found, or how the mail is built.',
    remedy: 'Leave out or change what the reply names, and send the mail again.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'soft',
  },
  protocol: {
    meaning:
      'The two servers did not understand each other: a command or feature was refused, or the answer made no sense.',
    remedy:
      'Look at the transcript of the attempt; if the destination is yours, mend it, else tell its postmaster. An address with non-ASCII letters needs a server that knows SMTPUTF8.',
    actor: 'receiver',
    suppression: 'never',
    bounceType: 'soft',
  },
  tls: {
    meaning:
      'No encrypted connection could be made as it was demanded: by the message, by the destination, or by its published policy.',
    remedy:
      'The postmaster of the destination has to mend its certificate or policy; where require_tls was set, a mail without it can go unencrypted.',
    actor: 'receiver',
    suppression: 'never',
    bounceType: 'soft',
  },
  network: {
    meaning: 'The destination could not be reached, or the connection broke.',
    remedy:
      'Nothing has to be done for one destination: Valija tries again. If all destinations fail so, look at `valija doctor`: port 25 or the resolver may be blocked.',
    actor: 'nobody',
    suppression: 'never',
    bounceType: 'soft',
  },
  expired: {
    meaning: 'The mail was tried until its time was over.',
    remedy:
      'Look at its attempts for the cause, mend that and send it again; ttl_seconds gives a mail more time.',
    actor: 'sender',
    suppression: 'never',
    bounceType: 'soft',
  },
  internal: {
    meaning: 'Valija itself could not make or send this mail.',
    remedy: 'The operator has to look into the log under the message’s id.',
    actor: 'operator',
    suppression: 'never',
    bounceType: 'soft',
  },
  rejected: {
    meaning: 'The mail was refused for good without a reason that could be read from the reply.',
    remedy:
      'Read the reply as it stands; the postmaster of the destination knows why. A destination in a private network has to be allowed by the operator (VALIJA_ALLOW_NETWORKS).',
    actor: 'receiver',
    suppression: 'never',
    bounceType: 'hard',
  },
  other: {
    meaning: 'The receiving server has trouble of its own, or gave a cause that fits no other reason.',
    remedy:
      'Nothing has to be done if it was temporary: Valija tries again. Else read the reply as it stands.',
    actor: 'nobody',
    suppression: 'never',
    bounceType: 'soft',
  },
}
