/**
 * What Sisimai calls the reasons of a bounce, and which of ours say the same: the map by which `eval-bounces` compares
 * (docs/bounces.md explains it line by line).
 *
 * Sisimai's names are finer in some places (three for a virus, a header and an attachment) and coarser in others, and its
 * "hard" is narrower than ours: only an address or a domain that does not exist.
 */
import type { BounceJudgement } from '@valija/core'

type Ours = Pick<BounceJudgement, 'reason' | 'bounceType'>

/** Sisimai's reason → those of ours that mean it. */
export const sisimaiReasons: Readonly<Record<string, readonly Ours['reason'][]>> = {
  authfailure: ['authentication'],
  badreputation: ['reputation'],
  blocked: ['reputation', 'policy', 'throttled'],
  contenterror: ['content'],
  exceedlimit: ['size'],
  expired: ['expired', 'network'],
  failedstarttls: ['tls'],
  filtered: ['mailbox_unknown', 'policy', 'content', 'spam'],
  hasmoved: ['mailbox_unknown'],
  hostunknown: ['domain_unknown'],
  mailboxfull: ['mailbox_full'],
  mailererror: ['other'],
  mesgtoobig: ['size'],
  networkerror: ['network', 'other'],
  norelaying: ['policy'],
  notaccept: ['domain_unknown'],
  notcompliantrfc: ['content'],
  onhold: ['rejected', 'other'],
  policyviolation: ['policy', 'content'],
  rejected: ['policy', 'reputation'],
  requireptr: ['authentication'],
  securityerror: ['policy', 'authentication', 'tls'],
  spamdetected: ['spam'],
  speeding: ['throttled'],
  suppressed: ['mailbox_disabled'],
  suspend: ['mailbox_disabled'],
  syntaxerror: ['protocol'],
  systemerror: ['other'],
  systemfull: ['other'],
  toomanyconn: ['throttled'],
  undefined: ['rejected', 'other'],
  userunknown: ['mailbox_unknown'],
  virusdetected: ['content'],
}

/** Not failures to Sisimai either: an absence note, a success, a complaint. */
export const noFailures: readonly string[] = ['vacation', 'delivered', 'feedback']

/** An address that exists not, as Sisimai counts it: a mailbox that is closed, or an unexplained refusal, is not that. */
export function isHard({ reason, bounceType }: Ours): boolean {
  return bounceType === 'hard' && (reason === 'mailbox_unknown' || reason === 'domain_unknown')
}

/**
 * Whether our reason says what Sisimai's does. "filtered" is Sisimai's word for an unknown user whom the server had accepted at
 * RCPT; there ours is the same reason, but not hard.
 */
export function meansTheSame(expected: string, ours: Ours): boolean {
  if (!(sisimaiReasons[expected] ?? []).includes(ours.reason)) return false
  if (ours.reason !== 'mailbox_unknown') return true
  return expected === 'filtered' ? ours.bounceType !== 'hard' : ours.bounceType === 'hard'
}
