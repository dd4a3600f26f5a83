/**
 * Bounces without (or with a poor) machine-readable part: who is meant, and what was said, from the text for people.
 *
 * Every line that names an address is a *mention*; how the line does it tells how likely its address is the recipient. The lines
 * from one mention to the next belong to it. The best kind of mention that a report has decides who its recipients are.
 */
import { inMoreLanguages } from './failure-words.ts'
import type { ReportedPhase } from './incoming-mail.ts'
import { codeInText, phaseInText, phaseOfCommand, replyIn, statusInText } from './reply-in-text.ts'
import { type FoundAddress, findAddresses } from './reported-address.ts'

export interface TextRecipient {
  address: string
  /** What was said, on one line; may be empty. */
  text: string
  replyCode: number | null
  status: string | null
  phase: ReportedPhase | null
}

/** Best first. */
const kinds = ['listed', 'labelled', 'command', 'reply', 'undelivered', 'addressed', 'sentence'] as const
type Kind = (typeof kinds)[number]

interface Mention {
  kind: Kind
  address: string
  line: number
}

/** Words of failure, in the languages that mail systems speak. */
export const FAILURE = inMoreLanguages(
  /(?:could|can|was|were|is|are|do|does|did|has|have) ?(?:not|n.t)\b|cannot|undeliver|(?:not|n't|cannot|could not|unable to|failed to|failure to|impossible to|unsuccessful) (?:be )?(?:deliver|reach|send|sent|accept)|deliver(?:y|ies) .{0,40}fail|delivery (?:error|problem|status)|fail(?:ed|ure)|fatal error|unable to|impossible|reject|refused|bounced?\b|returned (?:mail|to sender)|unknown|no such|not exist|doesn.t exist|not (?:found|listed|known|local)|invalid|disabled|inactive|suspended|blocked|denied|quota|full\b|exceed|expired|delayed|deferred|timed? ?out|unrout|giving up|error|couldn.t|wasn.t able|unzustellbar|konnte nicht|nicht zugestellt|non remis|n'a pas (?:encore )?pu|no pudo|no (?:se )?(?:pudo|ha podido)|n[ãa]o (?:p[oô]de|foi poss)|impossibile|non (?:è|e) stato|できません|配信|失敗|送信|不明|недоставл|не доставл|не может|не найден|не существует|переполнен|退信|失败|无法|不存在|已满|見つか|満杯|一杯|超え|nie (?:mo[żz]na|zosta[łl]|istnieje)|brak takiego|niet (?:worden )?(?:bezorg|afgelever)|onbekend|bestaat niet|non pu[oò]|non esiste|inesistente|sconosciut|scadut|pien[ao]|inconnue?|introuvable|pleine?\b|satur[ée]|desconocid|no existe|no encontrad|llen[oa]\b|demasiado|desconhecid|n[ãa]o (?:existe|encontrad)|chei[oa]\b|lotad[oa]|unbekannt|existiert nicht|nicht gefunden|voll\b|gesperrt|실패|없습니다|초과|kunde inte|kunne ikke|finns inte|neexistuje|nelze|edilemedi|bulunamad/i,
)

const DAEMON =
  /^(?:mailer-?daemon|postmaster|post[_.]master|mail-?daemon|abuse|noreply|no-reply|webmaster|hostmaster|support|helpdesk|help)@/i
const MAX_TEXT = 1_000
const MAX_CONTEXT = 2_000
/** Addresses of a line that are looked at. */
const MAX_IN_LINE = 8
/** What stands further before an address says nothing of it. */
const MAX_BEFORE = 120

/**
 * @param lines of the report for people
 * @param isSenders whether an address is the one that the bounce went to
 */
export function readTextReport(
  lines: readonly string[],
  isSenders: (address: string) => boolean,
): TextRecipient[] {
  const mentions = lines.flatMap(mentionsIn)
  const meant = meantOf(mentions, isSenders)
  const best = kinds.find((kind) => meant.some((mention) => mention.kind === kind))
  if (best === undefined) return []
  const addresses = distinct(meant.filter(({ kind }) => kind === best).map(({ address }) => address))
  const own = linesByAddress(lines, mentions, addresses, best)
  const linesOfEach = addresses.map((address) => own.get(address.toLowerCase()) ?? [])
  const said = linesOfEach.map((mine) => pickSaid(mine) ?? saidBelow(mine))
  const before = said.includes(null) ? lines.slice(0, mentions[0]?.line ?? 0) : []
  const general =
    pickSaid(before) ?? linesOfEach.map(poorlySaid).find((one) => one !== null) ?? poorlySaid(before)
  return addresses.map((address, index) => ({ address, ...(saidFor(said, index) ?? general ?? nothing) }))
}

const nothing = { text: '', replyCode: null, status: null, phase: null }

/** Addresses that stand in a list share what follows the last of them. */
function saidFor(said: readonly (Said | null)[], index: number): Said | null {
  return (
    said[index] ??
    said.find((one, at) => at > index && one !== null) ??
    said.findLast((one) => one !== null) ??
    null
  )
}

/** The sender's own address is meant only where no other stands in a place that is the recipient's. */
function meantOf(mentions: readonly Mention[], isSenders: (address: string) => boolean): Mention[] {
  const isOther = ({ address }: Mention) => !isSenders(address) && !DAEMON.test(address)
  const others = mentions.filter(isOther)
  const taken = new Set<Kind>([
    'labelled',
    'undelivered',
    'addressed',
    'sentence',
    ...others.map(({ kind }) => kind),
  ])
  return mentions.filter((mention) => !taken.has(mention.kind) || isOther(mention))
}

/** What a report says of a failure, whoever it is about; null when it says nothing. */
export function saidAnywhere(lines: readonly string[]): Said | null {
  return pickSaid(lines) ?? poorlySaid(lines)
}

function distinct(addresses: readonly string[]): string[] {
  const seen = new Set<string>()
  return addresses.filter((address) => {
    const key = address.toLowerCase()
    return !seen.has(key) && seen.add(key)
  })
}

function mentionsIn(line: string, index: number): Mention[] {
  if (!line.includes('@')) return []
  const isFailure = FAILURE.test(line)
  const [first, ...others] = findAddresses(line, MAX_IN_LINE)
    .filter(({ start }) => !isLink(line, start))
    .map((found) => ({ ...found, kind: kindOf(line, found, isFailure) }))
  if (first === undefined) return []
  // "<a@example.net> (expanded from: <b@example.net>)", "550 <a@example.net>... ": the first is meant, unless only another has a kind.
  const meant = [first, ...others].filter(({ kind }) => kind !== null)
  const [one] = meant
  if (one === undefined || one.kind === null) return []
  const listed = isAddressList(line) ? meant : [one]
  return listed.map(({ address }) => ({ address, line: index, kind: one.kind as Kind }))
}

/** `a@example.net, b@example.net`: nothing else stands there. */
function isAddressList(line: string): boolean {
  return /^[\s<>*]{0,20}[^\s,;<>]{3,300}>?(?:[,;]\s{0,5}<?[^\s,;<>]{3,300}>?){1,50}[,;]?$/.test(line)
}

function isLink(line: string, start: number): boolean {
  return /(?:mailto:|https?:\/\/\S{0,200})$/i.test(line.slice(Math.max(0, start - 220), start))
}

const BULLET =
  /^[\s>*•·|+-]{0,30}(?:\d{1,3}[.)]\s{0,5})?(?:smtp:|rfc822;)?\s{0,5}[<"'[(]{0,2}(?:smtp:|mailto:)?$/i
const LABEL =
  /(?:recipients?|rcpt(?: to)?|delivered to|deliver to|delivery to|failed address(?:es)?|(?:original|failed|destination|recipient'?s?|e-?mail|receiver|mail|user'?s?|intended|invalid|final) ?(?:e-?mail )?(?:address(?:es)?|recipients?)|addressee|destination|empf[äa]nger|destinataire|destinat[aá]rio|宛先|あて先|送信先|收件(?:人|者)|получател[ьюя]|адресат[ау]?|odbiorca|adresat|ontvanger|geadresseerde|받는 ?사람|수신자|mottagare|modtager)\s{0,10}(?:\([^)]{0,20}\))?\s{0,5}[:=：]\s{0,20}[<"'[]{0,2}(?:smtp:|rfc822;)?\s{0,5}[<"']?$/i
/** Labels that stand before other addresses as well. */
const WEAK_LABEL =
  /(?:^|\s)(?:to|user|mailbox|address)\s{0,5}[:=]\s{0,20}[<"'[]{0,2}(?:smtp:)?$|^\s{0,20}(?:to|recipient|address)\s{1,20}[<"'[]{0,2}$/i
const UNDELIVERED =
  /(?:undeliverable|deliver(?:y|ed|ing)?|reach|send|sent|transmit(?:ted)?)\b.{0,60}\b(?:to|for)\b[^@]{0,40}$|reject(?:ed|s)? (?:the )?(?:recipient|address)[^@]{0,20}$|(?:mail|message) (?:to|for)\b[^@]{0,40}$|(?:dostarczon|dor[ęe]czon|afgelever|bezorg|zugestell|entreg|consegn|recapit|remis|livr|доставлен|lever).{0,60}\s(?:do|bij|aan|an|a|al|à|au|para|per|ao|адрес\S{1,4}|till|til)\b[^@]{0,20}$/i
const COMMAND = /rcpt\s{1,5}to\s{0,3}:\s{0,3}<?$/i
const REPLY = /^[\s<>]{0,20}[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3}\s{1,3})?[<"'([]{0,2}$/

function kindOf(line: string, { start, end }: FoundAddress, isFailure: boolean): Kind | null {
  const before = line.slice(Math.max(0, start - MAX_BEFORE), start)
  const isNear = start < MAX_BEFORE
  const after = line.slice(end).replace(/^[>"'\])]{1,2}/, '')
  if (COMMAND.test(before)) return /^[ \t]{0,30}(?:>>>|sent|c:|-->)/i.test(before) ? 'command' : 'labelled'
  if (isNear && BULLET.test(before) && isListed(before, after)) return 'listed'
  if (LABEL.test(before)) return 'labelled'
  if (isNear && REPLY.test(before)) return 'reply'
  if (isFailure && UNDELIVERED.test(before)) return 'undelivered'
  if (WEAK_LABEL.test(before)) return 'addressed'
  return isFailure ? 'sentence' : null
}

/** What may follow an address that a line begins with. */
function isListed(before: string, after: string): boolean {
  const rest = after.trim()
  if (
    rest === '' ||
    /^[:;,.]?$/.test(rest) ||
    /^<?mailto:/i.test(rest) ||
    /^\(?<[^<>\s]{1,300}>\)?:?$/.test(rest)
  )
    return true
  if (/^(?::|\.\.\.|[([]|-{1,2} |=>|->|on (?:mon|tue|wed|thu|fri|sat|sun|\d))/i.test(rest)) return true
  return (before.includes('<') || /^\s/.test(after) || /^[,;]/.test(rest)) && FAILURE.test(rest)
}

/** The lines that belong to each address, by its lower case: from each of its mentions to the next mention of another. */
function linesByAddress(
  lines: readonly string[],
  mentions: readonly Mention[],
  addresses: readonly string[],
  best: Kind,
): Map<string, string[]> {
  const own = new Map<string, string[]>(addresses.map((address) => [address.toLowerCase(), []]))
  const theirs = mentions.filter(({ address }) => own.has(address.toLowerCase()))
  theirs.forEach((mention, index) => {
    const key = mention.address.toLowerCase()
    if (theirs[index - 1]?.address.toLowerCase() === key) return
    own.get(key)?.push(...linesOf(lines, mention, theirs[index - 1], nextOther(theirs, index), best), '')
  })
  return own
}

function linesOf(
  lines: readonly string[],
  mention: Mention,
  before: Mention | undefined,
  next: Mention | undefined,
  best: Kind,
) {
  // A transcript closes with the line that names the address.
  const from = mention.kind === 'reply' && best === 'reply' ? (before?.line ?? -1) + 1 : mention.line
  return lines.slice(from, next?.line ?? lines.length)
}

function nextOther(mentions: readonly Mention[], index: number): Mention | undefined {
  const key = mentions[index]?.address.toLowerCase()
  for (let at = index + 1; at < mentions.length; at++) {
    if (mentions[at]?.address.toLowerCase() !== key) return mentions[at]
  }
  return undefined
}

/** All that a report says, but for addresses and what any report says. */
export function contextOf(lines: readonly string[]): string {
  const told = lines
    .map((line) => withoutAddresses(line).trim())
    .filter((line) => line !== '' && !NO_CAUSE.test(line))
  return told.join(' ').slice(0, MAX_CONTEXT)
}

export type Said = Omit<TextRecipient, 'address'>

/** The reply that the lines quote, else the sentences that name a cause. */
function pickSaid(lines: readonly string[]): Said | null {
  const at = replyLine(lines)
  const paragraph = at >= 0 ? replyAt(lines, at) : causeIn(lines)
  return paragraph === null ? null : saidIn(paragraph, lines, at)
}

/** What stands below any mail of a company. */
const DISCLAIMER =
  /privileged|confidential|(?:designated|intended) (?:recipient|addressee)|in error\b.{0,80}(?:notify|delete|destroy)/i

/** A sentence that only says that there is a failure, better than none. */
function poorlySaid(lines: readonly string[]): Said | null {
  const at = lines.findIndex((line) => FAILURE.test(withoutAddresses(line)) && !DISCLAIMER.test(line))
  return at < 0 ? null : saidIn(paragraphFrom(lines, at), lines, -1)
}

/** @param at the line of the reply that the paragraph is; -1 when it is none */
function saidIn(paragraph: string, lines: readonly string[], at: number): Said {
  const all = lines.join(' ').slice(0, 4_000)
  const status = failureIn(paragraph) ?? (at >= 0 ? null : failureIn(all))
  const reply = replyIn(paragraph)
  const said = at >= 0 && isOnlyCode(reply) ? `${reply} ${causeIn(without(lines, at)) ?? ''}`.trim() : reply
  return {
    text: said.slice(0, MAX_TEXT),
    replyCode: codeInText(paragraph, status?.[0] ?? null),
    status,
    phase: phaseBefore(lines, at) ?? phaseInText(paragraph) ?? phaseInTranscript(lines) ?? phaseInText(all),
  }
}

/** A success is not what a report of a failure is about: such numbers are versions. */
function failureIn(text: string): string | null {
  const status = statusInText(text)
  return status?.startsWith('2.') ? null : status
}

/** `Status code: 550 5.1.10`: the words are elsewhere. */
function isOnlyCode(reply: string): boolean {
  return !/[\p{L}]{3}/u.test(
    reply.replace(
      /\b(?:status|code|smtp|esmtp|error|reply|response|returned|remote|server|mta|host|said|dsn)\b/gi,
      '',
    ),
  )
}

function without(lines: readonly string[], at: number): string[] {
  return lines.filter((_line, index) => index !== at)
}

/** Replies that leave the cause to the line before. */
const NO_REASON =
  /^[^a-z]{0,20}(?:<\S{1,99}>)?[^a-z]{0,10}(?:service unavailable|(?:remote )?protocol error|transaction failed|delivery failed)/i

function replyAt(lines: readonly string[], at: number): string {
  const reply = paragraphFrom(lines, at)
  const before = (lines[at - 1] ?? '').trim()
  return NO_REASON.test(reply) && FAILURE.test(before) && !/^(?:>>>|--)/.test(before)
    ? `${reply} ${before}`
    : reply
}

/** The first line with a reply code, else with a status; -1 when there is none. */
function replyLine(lines: readonly string[]): number {
  const coded = lines.findIndex((line) => codeInText(line) !== null)
  return coded >= 0 ? coded : lines.findIndex((line) => statusInText(line) !== null)
}

/** Of a transcript, the command before the reply. */
function phaseBefore(lines: readonly string[], at: number): ReportedPhase | null {
  for (let index = at - 1; index >= 0 && index > at - 6; index--) {
    const phase = phaseOfCommand(lines[index] as string)
    if (phase !== null) return phase
  }
  return null
}

/** Of the first command that a transcript shows refused. */
function phaseInTranscript(lines: readonly string[]): ReportedPhase | null {
  const at = lines.findIndex((line) => /^[ \t]{0,20}<<<[ \t]{1,8}[45]\d\d/.test(line))
  return at < 0 ? null : phaseBefore(lines, at)
}

function paragraphFrom(lines: readonly string[], at: number): string {
  const taken: string[] = []
  for (const line of lines.slice(at, at + 10)) {
    if (line.trim() === '' && taken.length > 0) break
    if (taken.length > 0 && isOtherAnswer(line, taken[0] as string)) break
    taken.push(line.trim())
  }
  return taken.join(' ')
}

/** A command, a rule, or a reply with another code than that of the first line. */
function isOtherAnswer(line: string, first: string): boolean {
  if (/^[ \t]{0,8}(?:>>>|---|===|\.\.\. while talking)/.test(line)) return true
  const code = /^(?:<<< )?([45]\d\d)[ -]/.exec(line)?.[1]
  return code !== undefined && !first.includes(code)
}

/** Sentences that only say that there is a failure. */
const NO_CAUSE =
  /automatically generated|(?:following|one or more) (?:\S{1,12} )?(?:recipients?|address|of)|permanent (?:fatal )?error|fatal errors|delivery problems|learn more|more (?:tips|information)|status notification|warning message|please (?:note|send|contact|include|do not|check|visit)|(?:do|does) not need|kept in (?:the|our) queue|will (?:be )?(?:retr|keep|continue)|for (?:further|more) |if (?:you|the problem)|(?:siguientes?|seguintes?|seguenti?) destinat|destinataires? suivants?|folgende[nr]? (?:empf|adress)|これらの宛先|下記の宛先|received (?:this|it)\b[^.]{0,40} in error|(?:designated|intended) recipient|privileged|confidential/i

/** What stands behind is the cause, in whatever words. */
const CAUSE_LABEL =
  /^[\s>*#-]{0,12}(?:(?:the )?(?:reason|cause|problem|error|diagnos\w{0,8}|details?|explanation|status|failure reason|error message|response)(?: (?:code|text|is|was|message|given|for \w{1,12}))?|grund|ursache|fehler(?:meldung)?|raison|motif|cause|erreur|motivo|raz[oó]n|causa|error|erro|errore|причина|ошибка|原因|理由|错误信息|退信原因|사유|오류|pow[oó]d|przyczyna|reden|oorzaak|orsak|[aå]rsag)\s{0,5}[:：]\s{0,20}\S/i

/** @returns the first paragraphs that name a cause */
function causeIn(lines: readonly string[]): string | null {
  const labelled = lines.findIndex((line) => CAUSE_LABEL.test(line))
  if (labelled >= 0) return paragraphFrom(lines, labelled)
  const words = lines.map(withoutAddresses)
  // "<jo@example.net>: what went wrong", in whatever words.
  if (/^[^a-z]{0,30}:[^a-z]{0,20}[a-z]/i.test(words[0] ?? '') && !NO_CAUSE.test(words[0] ?? ''))
    return paragraphFrom(lines, 0)
  const causes = words.flatMap((line, index) => (FAILURE.test(line) && !NO_CAUSE.test(line) ? [index] : []))
  const [first, ...others] = causes
  if (first === undefined) return null
  const paragraph = paragraphFrom(lines, first)
  const second = others.find((index) => !paragraph.includes((lines[index] as string).trim()))
  return second === undefined ? paragraph : `${paragraph} ${paragraphFrom(lines, second)}`
}

/** The words right under an address, whatever they are; not those of a list of fields. */
function saidBelow(lines: readonly string[]): Said | null {
  const below = lines[1] ?? ''
  const isSentence =
    /[a-z]{3}/i.test(withoutAddresses(below)) && !/^\s{0,9}[a-z][\w ()-]{1,30}:\s/i.test(below)
  if (!isSentence || NO_CAUSE.test(below)) return null
  return { text: paragraphFrom(lines, 1).slice(0, MAX_TEXT), replyCode: null, status: null, phase: null }
}

function withoutAddresses(line: string): string {
  return findAddresses(line).reduceRight(
    (text, { start, end }) => text.slice(0, start) + text.slice(end),
    line,
  )
}
