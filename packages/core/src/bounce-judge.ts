/**
 * What a bounce that came as a mail means for the recipient it names: the same reasons as those of our own conversations
 * (disposition.ts), read from what the report quotes.
 *
 * It differs from a conversation of ours in three things. A report often leaves out in which phase the refusal was said, so rules
 * of any phase may fit. What the reporting host found out by itself (rules/bounces.yaml) counts as much as what it was told.
 * And "no such user" is believed only where the report says that RCPT was refused with it, for good, or gives a status of that
 * meaning: hosts that had taken the recipient say the same words of a filter that disliked the mail, and hosts that could not ask
 * their directory say them for the time being.
 */
import type { ReportedRecipient, SmtpReply } from '@valija/mail'
import { type Disposition, type Reading, readRefusal } from './disposition.ts'
import type { BounceType } from './events.ts'
import { type Reason, reasonMeanings } from './reasons.ts'
import { loadReplyRules, type ReplyRule } from './reply-rules.ts'
import type { Phase } from './transaction.ts'

export interface BounceJudgement {
  reason: Reason
  bounceType: BounceType
  /** As in `Disposition`: with `guess`, nothing that outlasts this mail may follow. */
  evidence: Disposition['evidence']
  /** The line that taught the rule; null unless `evidence` is `rule`. */
  taughtBy: string | null
}

export type JudgeBounce = (reported: ReportedRecipient) => BounceJudgement

export interface BounceRules {
  /** The first that matches decides. */
  first: readonly ReplyRule[]
  /** Asked when none of the first matches, or only one for what passes by itself. */
  late: readonly ReplyRule[]
  /** Asked when none of these matches: other words, other languages. */
  words: readonly ReplyRule[]
  /** Asked last: single words. What they say is a guess. */
  bare: readonly ReplyRule[]
}

/** The shipped rules: for what mail systems say of failures by themselves, around those for what servers reply. */
export function loadBounceRules(): BounceRules {
  return {
    first: [...loadReplyRules('bounces'), ...loadReplyRules()],
    late: loadReplyRules('bounces.late'),
    words: loadReplyRules('bounces.words'),
    bare: loadReplyRules('bounces.bare'),
  }
}

/** Judges by the shipped rules, which are read for the first bounce: that takes 0.1 s, and many a process never sees one. */
export function openBounceJudge(): JudgeBounce {
  let judge: JudgeBounce | null = null
  return (reported) => {
    judge ??= createBounceJudge(loadBounceRules())
    return judge(reported)
  }
}

export function createBounceJudge(rules: BounceRules): JudgeBounce {
  return (reported) => {
    const { reason, bounceType, evidence, taughtBy } = read(rules, reported)
    const isDoubtful = reason === 'mailbox_unknown' && bounceType !== 'hard' && !isAboutAddress(reported)
    if (isDoubtful) return { reason, bounceType: 'soft', evidence: 'guess', taughtBy }
    const isForNow = isTemporary(reported)
    if (isForNow && reason === 'mailbox_unknown') {
      // 4.1.1 means nothing else, and was said all the time that the mail was tried.
      return {
        reason,
        bounceType: reported.status === '4.1.1' ? 'hard' : 'soft',
        evidence: 'guess',
        taughtBy,
      }
    }
    const isSoft = isForNow && reason === 'domain_unknown'
    const type = isSoft ? 'soft' : (bounceType ?? reasonMeanings[reason].bounceType)
    return { reason, bounceType: type, evidence: reported.isSecondHand ? 'guess' : evidence, taughtBy }
  }
}

/**
 * Whether what was said was said for the time being: from that it is never concluded that somebody is unknown (`mailboxFaultOfExpiry`),
 * whatever the reporting host made of it when its time was over.
 */
function isTemporary({ status, replyCode }: ReportedRecipient): boolean {
  if (status?.startsWith('4.')) return true
  return replyCode !== null && replyCode < 500 && !/^5\.1\.[1-9]/.test(status ?? '')
}

/** What passes by itself, and was waited for in vain where a report says that time is over. */
const passing: ReadonlySet<Reason> = new Set(['throttled', 'greylisted', 'other'])

function read(rules: BounceRules, reported: ReportedRecipient): Reading {
  const { first, late, words } = rules
  const reading = readByRules(first, reported)
  const isFound = reading.evidence === 'rule'
  if (isFound && !(passing.has(reading.reason) && reported.status?.startsWith('4.'))) return reading
  // Refused at the greeting or EHLO: it can only be about the host that sent.
  const isEarly = reported.phase === 'connect' || reported.phase === 'ehlo'
  if (!isFound && isEarly && (reported.replyCode ?? 0) >= 500) return { ...reading, reason: 'policy' }
  const last = readByRules(late, reported)
  if (last.evidence === 'rule') return last
  const worded = isFound ? null : readByWords([first, words], reported, reading)
  if (worded !== null) return worded
  const guessed = reading.evidence === 'guess' ? guess(rules, reported, reading) : null
  if (guessed !== null) return { ...guessed, evidence: 'guess' }
  // Nothing but "it is late": the host is not reached yet.
  if (reported.action === 'delayed' && reading.evidence === 'guess') return { ...reading, reason: 'network' }
  return reading
}

/** By a single word of what was said, else by what the report says around it. */
function guess({ first, late, words, bare }: BounceRules, reported: ReportedRecipient, reading: Reading) {
  const bareWord = readByWords([bare], reported, reading)
  const { context, action } = reported
  if (bareWord !== null || context === undefined || action === 'delayed' || !saysNothing.has(reading.reason))
    return bareWord
  return readByWords([late, words, first], { ...reported, text: context }, reading)
}

/** Reasons of a code that says nothing. */
const saysNothing: ReadonlySet<Reason> = new Set(['rejected', 'other'])

/** Causes whose words are plainer than the status beside them: 5.1.1 and 5.5.0 are sent with anything. */
const plain: ReadonlySet<Reason> = new Set([
  'mailbox_unknown',
  'mailbox_full',
  'mailbox_disabled',
  'domain_unknown',
  'size',
  'spam',
  'content',
])

/** Whether words that are not those of one system say more than the code does. */
function sayMore(reason: Reason, { evidence, reason: byCode }: Reading): boolean {
  if (evidence !== 'status') return true
  return plain.has(reason) && ['mailbox_unknown', 'mailbox_disabled', 'protocol', 'other'].includes(byCode)
}

/** Null when the words say nothing, or less than the code. Asked again without what stands between the words. */
function readByWords(
  files: readonly (readonly ReplyRule[])[],
  reported: ReportedRecipient,
  byCode: Reading,
): Reading | null {
  const { unnamed, bare, inPlace } = wordsOf(reported)
  const asked = new Set<string>()
  const ask = (text: string): Reading | null => {
    if (asked.has(text)) return null
    asked.add(text)
    return readFirst(files, { ...reported, text }, byCode)
  }
  const reading = ask(unnamed) ?? ask(bare)
  if (reading !== null || byCode.evidence !== 'guess') return reading
  const guessed = ask(inPlace)
  return guessed === null ? null : { ...guessed, evidence: 'guess' }
}

function readFirst(
  files: readonly (readonly ReplyRule[])[],
  reported: ReportedRecipient,
  byCode: Reading,
): Reading | null {
  for (const rules of files) {
    const reading = readByRules(rules, reported, ['body', 'rcpt'])
    if (reading.evidence === 'rule' && sayMore(reading.reason, byCode)) return reading
  }
  return null
}

/**
 * What was said, where names of people and hosts are no words (`nospam@full.example.net` says nothing of spam): with one address
 * for all; without any, `550 mailbox <jo@example.net> unavailable` → `550 mailbox unavailable`; and with a word for the
 * recipient's, `550 <jo@example.net>: not in use` → `550 recipient not in use`.
 */
function wordsOf({ text, address }: ReportedRecipient) {
  // What the reporting host adds behind.
  const said = text.replace(/\s{0,9}\(in reply to [^()]{1,40}\)\s{0,9}$/i, '')
  const own = address?.toLowerCase() ?? null
  const replaced = (insteadOf: (named: string) => string) =>
    said
      .replace(QUOTED_ADDRESS, insteadOf)
      .replace(/\s{2,9}/g, ' ')
      .trim()
  return {
    unnamed: said.replace(ADDRESS, 'jo@example.net'),
    bare: replaced(() => ' '),
    inPlace: replaced((named) => (own !== null && named.toLowerCase().includes(own) ? ' recipient ' : ' ')),
  }
}

const ADDRESS = /[^\s<>()[\]",;:@\\]{1,128}@[\p{L}\p{N}._-]{1,255}/gu
const QUOTED_ADDRESS = /[<("'[]{0,2}[^\s<>()[\]",;:@\\'"]{1,128}@[\p{L}\p{N}._-]{1,255}[>)"'\]]{0,2}:?/gu

/** @param unsaid the phases to try where the report names none */
function readByRules(
  rules: readonly ReplyRule[],
  reported: ReportedRecipient,
  unsaid: readonly Phase[] = ['rcpt', 'body'],
): Reading {
  const reply = replyOf(reported)
  const [phase, ...others] = reported.phase === null ? unsaid : [reported.phase]
  const reading = readRefusal(rules, phase as Phase, reply, reported.remoteHost)
  if (reading.evidence === 'rule') return reading
  for (const other of others) {
    // Those that were of the phases before have said no: their patterns are what costs.
    const left = rules.filter(({ phases }) => phases?.includes(phase as Phase) === false)
    const found = readRefusal(left, other, reply, reported.remoteHost)
    if (found.evidence === 'rule') return found
  }
  return reading
}

/** An answer to RCPT, or a status about addresses (RFC 3463 section 3.2; Microsoft's own have three digits, such as 5.1.351). */
function isAboutAddress({ phase, status }: ReportedRecipient): boolean {
  return phase === 'rcpt' || /^5\.1\.(?:[0-36]|10|\d{3})$/.test(status ?? '')
}

/** What is missing follows from what is there: the class of the code from the status, else from the action. */
function replyOf({ replyCode, status, text, action }: ReportedRecipient): SmtpReply {
  const isTemporary = status === null ? action === 'delayed' : status.startsWith('4.')
  return { code: replyCode ?? (isTemporary ? 450 : 550), enhanced: status, text }
}
