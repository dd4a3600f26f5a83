/**
 * Which recipients a bounce or a complaint is about: what it says has to fit the message that its signed address names, for an
 * address of ours alone proves only that somebody has had a mail of ours in hand.
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
    const targets: MessageTarget[] = []
    for (const address of source) {
      const found = read(address)
      if (!found.ok) ignored = found.fault === 'foreign' ? ignored : found.fault
      else if (found.target.kind !== 'domain') targets.push(found.target)
    }
    if (targets.length > 0) return { targets }
  }
  return { ignored }
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

/** What a bounce says of one of our recipients. */
export interface BouncedMail {
  mail: ReportedMail
  reported: ReportedRecipient
}

/**
 * @param mails the recipients that the report's address stands for: one, or all of a message
 * @param isOne whether the address stands for one recipient, so that the report need not name it
 */
export function matchBounce(
  { recipients }: Bounce,
  mails: readonly ReportedMail[],
  isOne: boolean,
): BouncedMail[] {
  const matched = mails.flatMap((mail) => {
    const reported = recipients.find(({ address, originalAddress }) =>
      [address, originalAddress].some((name) => name !== null && isSameMailbox(name, mail)),
    )
    return reported === undefined ? [] : [{ mail, reported }]
  })
  const [mail] = mails
  const [reported] = recipients
  const namesNobody = recipients.every(
    ({ address, originalAddress }) => (address ?? originalAddress) === null,
  )
  if (matched.length > 0 || !namesNobody || mail === undefined || reported === undefined) return matched
  return isOne || mails.length === 1 ? [{ mail, reported }] : []
}

/** Complaints are about one recipient. The address of it is mostly blacked out. */
export function matchComplaint(
  { recipients }: Complaint,
  mails: readonly ReportedMail[],
  isOne: boolean,
): ReportedMail | null {
  const named = mails.filter((mail) => recipients.some((name) => isSameMailbox(name, mail)))
  if (isOne || mails.length === 1) return mails[0] ?? null
  return named.length === 1 ? named[0]! : null
}

/**
 * Whether a report means this recipient: hosts give the mailbox under a host's name below its domain (`ann@mail.example.org`), in
 * another case, without its tag, and the domain in letters.
 */
function isSameMailbox(name: string, { emailKey }: ReportedMail): boolean {
  const [given, ours] = [partsOf(name.toLowerCase()), partsOf(emailKey)]
  const isBelow = (one: string, other: string) => one === other || one.endsWith(`.${other}`)
  return (
    given.local === ours.local && (isBelow(given.domain, ours.domain) || isBelow(ours.domain, given.domain))
  )
}

function partsOf(address: string): { local: string; domain: string } {
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at).replace(/^"(.*)"$/, '$1')
  const domain = address.slice(at + 1).replace(/\.$/, '')
  return { local: local.replace(/(.)\+.*$/, '$1'), domain: domainToASCII(domain) || domain }
}
