/**
 * Which recipient a bounce or a complaint is about, by the rules in take-report.ts: what it says has to fit what its signed address
 * names, for an address of ours alone proves only that somebody has had a mail of ours in hand.
 *
 * Pure.
 */
import { domainToASCII } from 'node:url'
import type { IncomingMail, OriginalTraces, ReportedRecipient } from '@valija/mail'
import type { ReportedMail } from '@valija/store'
import type { ReadAddress, ReportTarget } from './report-address.ts'

export type Bounce = Extract<IncomingMail, { kind: 'bounce' }>
export type Complaint = Extract<IncomingMail, { kind: 'complaint' }>

/** Why a report changes nothing. A closed list: metrics count by it. */
export const ignoredReasons = [
  // No signed address of ours, or not a valid one
  'foreign',
  'forged',
  'expired',
  // Signed, and not about what it was signed for
  'gone',
  'other_tenant',
  'other_message',
  'other_recipient',
  // Nothing to apply
  'repeated',
  'ended',
  'not_final',
  'not_a_complaint',
  'simulated',
  // No report at all
  'auto_reply',
  'challenge',
  'other',
  // Aggregate reports: about another domain than their address, more than anybody sends, or none that can be read
  'other_domain',
  'too_many',
  'not_readable',
] as const
export type IgnoredReason = (typeof ignoredReasons)[number]

export type MessageTarget = Exclude<ReportTarget, { kind: 'domain' }>

/**
 * What the report is about, by the addresses that it came to, else by what it quotes of our mail: the return path, which some
 * hosts send to the From address instead, and the token in the header, which is left where addresses are blacked out.
 */
export function findTargets(
  addresses: readonly string[],
  { returnPath, recipientToken }: OriginalTraces,
  read: (address: string) => ReadAddress,
): { targets: MessageTarget[] } | { ignored: IgnoredReason } {
  let ignored: IgnoredReason = 'foreign'
  const sources = [addresses, ...[returnPath, recipientToken].map((trace) => (trace === null ? [] : [trace]))]
  for (const source of sources) {
    // One for each, at whichever domains its address stands: the domain is not signed.
    const targets = new Map<string, MessageTarget>()
    for (const address of source) {
      const found = read(address)
      if (!found.ok) ignored = found.fault === 'foreign' ? ignored : found.fault
      else if (found.target.kind !== 'domain')
        targets.set(Object.values(found.target).join(' '), found.target)
    }
    if (targets.size > 0) return { targets: [...targets.values()] }
  }
  return { ignored }
}

/**
 * Which recipient of the message: its address says it, or the return path of ours that the report quotes, which nobody has had in hand but
 * that recipient's hosts. Null: neither does.
 */
export function ordinalOf(
  target: MessageTarget,
  { returnPath }: OriginalTraces,
  read: (address: string) => ReadAddress,
): number | null {
  if (target.kind === 'recipient') return target.ordinal
  const found = returnPath === null ? null : read(returnPath)
  if (!found?.ok || found.target.kind !== 'recipient') return null
  return found.target.messageId === target.messageId ? found.target.ordinal : null
}

/**
 * Whether the mail that a report quotes is another one than its address names. Our token in the quoted header decides; without it the
 * Message-ID does, which relays may have rewritten.
 */
export function quotesAnother(
  { messageId, returnPath, recipientToken }: OriginalTraces,
  mail: ReportedMail,
  read: (address: string) => ReadAddress,
): boolean {
  const [byPath, byToken] = [returnPath, recipientToken].map((trace) => {
    const found = trace === null ? null : read(trace)
    return found?.ok && found.target.kind !== 'domain' ? found.target.messageId : null
  })
  if (byPath && byPath !== mail.messageId) return true
  if (byToken) return byToken !== mail.messageId
  return messageId !== null && messageId !== mail.rfcMessageId
}

/** What a bounce says of whom, read once however many recipients of ours it is held against. */
export interface BounceNames {
  /** By local part: what is said of such a mailbox, and in which domain. */
  byLocal: ReadonlyMap<string, readonly { domain: string; reported: ReportedRecipient }[]>
  /** Where no address is named at all: what is said of whoever had the mail. */
  ofWhoever: ReportedRecipient | null
}

export function readNames({ recipients }: Bounce): BounceNames {
  const byLocal = new Map<string, { domain: string; reported: ReportedRecipient }[]>()
  for (const reported of recipients) {
    for (const name of new Set([reported.address, reported.originalAddress])) {
      if (name === null) continue
      const { local, domain } = partsOf(name.toLowerCase())
      const same = byLocal.get(local)
      if (same === undefined) byLocal.set(local, [{ domain, reported }])
      else same.push({ domain, reported })
    }
  }
  return { byLocal, ofWhoever: byLocal.size === 0 ? (recipients[0] ?? null) : null }
}

/**
 * What a bounce says of this recipient, who is the one that its address stands for, so that it need not be named. Hosts give the mailbox
 * under a host's name below its domain (`ann@mail.example.org`), in another case, without its tag, and the domain in letters.
 */
export function matchBounce(
  { byLocal, ofWhoever }: BounceNames,
  { emailKey }: ReportedMail,
): ReportedRecipient | null {
  const ours = partsOf(emailKey)
  const isBelow = (one: string, other: string) => one === other || one.endsWith(`.${other}`)
  const named = byLocal
    .get(ours.local)
    ?.find(({ domain }) => isBelow(domain, ours.domain) || isBelow(ours.domain, domain))
  return named?.reported ?? ofWhoever
}

function partsOf(address: string): { local: string; domain: string } {
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at).replace(/^"(.*)"$/, '$1')
  const domain = address.slice(at + 1).replace(/\.$/, '')
  return { local: local.replace(/(.)\+.*$/, '$1'), domain: domainToASCII(domain) || domain }
}
