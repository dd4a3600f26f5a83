/**
 * Whom a bounce is about and what was said: from its machine-readable part, from its text for people, and from both where one
 * leaves something out.
 */
import { hasDeliveryStatus, readDeliveryStatus, specificStatus } from './delivery-status.ts'
import type { DeliveryAction, ReportedRecipient } from './incoming-mail.ts'
import { isFailureReport, isFromDaemon, isLikelyReport, senderOf } from './mail-character.ts'
import { type MailParts, takeApart, textOf } from './mail-parts.ts'
import { readNotice } from './notice-json.ts'
import { originalFields } from './original-traces.ts'
import { reportLines } from './report-text.ts'
import { findAddress, findAddresses } from './reported-address.ts'
import {
  contextOf,
  FAILURE,
  readTextReport,
  type Said,
  saidAnywhere,
  type TextRecipient,
} from './text-report.ts'

const STATUS_TYPE = /^message\/(?:global-)?delivery-status$/
const MAX_STATUS = 262_144
/** Before it is a failure, it is late. */
const DELAYED =
  /warning (?:message )?only|will (?:be )?(?:continue|keep|retr|try)|(?:still|keep) (?:be )?(?:trying|being retried)|(?:has been|was|is) delayed|not yet been delivered|do(?:es)? not need to resend|no action is required|temporarily (?:delayed|deferred)/i
/** Words that no report of a failure has, whatever else it says. */
const STILL_TRIED =
  /attempts will continue|will (?:keep|continue) (?:to )?(?:be )?(?:try|retry)|(?:is|are) (?:still )?(?:being )?(?:tried|retried) again|still being (?:tried|retried)|(?:need not|do(?:es)? not need to) (?:re-?)?send|noch nicht zugestellt|weiter(?:hin)? versucht|pas encore pu|nouvelles tentatives|no .{0,30}todav[ií]a|seguir[aá] intentando|ainda n[ãa]o (?:foi|p[oô]de)|continuar[aá] tentando|non .{0,20}ancora (?:stat|potut)|ulteriori tentativi|(?:ещ[её] не|пока не) (?:был|удалось|доставл)|попытки .{0,20}продолж|配信が遅延|再送を(?:試|続)|引き続き(?:再送|配信)|仍(?:在|将)(?:重试|尝试)|继续尝试|계속 (?:재시도|시도)/i
const GIVEN_UP =
  /permanent(?:ly)? (?:error|fail|fatal)|given up|giving up|gave up|not (?:be )?(?:tried|retried|retry)|will not|final|fatal errors|returned to sender|could not be delivered/i

/** @returns nobody when the mail is no bounce */
export async function readBounce(mail: MailParts): Promise<ReportedRecipient[]> {
  const recipients = await readRecipients(mail)
  const [only, another] = recipients
  if (only === undefined || another !== undefined) return recipients
  return [{ ...only, context: contextOf(reportLines(readableText(mail))) }]
}

async function readRecipients(mail: MailParts, depth = 0): Promise<ReportedRecipient[]> {
  const stated = statedRecipients(mail)
  if (stated.length > 0) {
    if (stated.every(isComplete)) return stated
    const lines = reportLines(readableText(mail))
    const told = readTextReport(lines, () => false)
    const general = saidAnywhere(lines)
    return stated.map((recipient) => completed(recipient, told, general))
  }
  const noticed = readNotice(mail)
  if (noticed.length > 0) return noticed
  const text = readableText(mail)
  if (!isFailureReport(mail, text)) return isLikelyReport(mail, text) ? likelyTold(mail) : []
  const told = await toldByText(mail)
  if (told.length > 0) return told
  return depth > 0 ? [] : nestedBounce(mail)
}

/** The recipients of the machine-readable part; a mail system may also have put it where no part is. */
function statedRecipients(mail: MailParts): ReportedRecipient[] {
  for (const part of mail.parts) {
    if (!STATUS_TYPE.test(part.type)) continue
    const recipients = readDeliveryStatus(textOf(part.content.subarray(0, MAX_STATUS)))
    if (recipients.length > 0) return recipients
  }
  if (senderOf(mail) === 'person') return forwardedRecipients(mail)
  const bare = [
    mail.text,
    ...mail.parts.filter(({ type }) => type.startsWith('text/')).map(({ content }) => textOf(content)),
    mail.body,
  ]
  const text = bare.find(hasDeliveryStatus)
  return text === undefined ? [] : readDeliveryStatus(text.slice(0, MAX_STATUS))
}

/** A person who forwards a bounce as a text does so with all its fields, each line perhaps quoted. */
function forwardedRecipients(mail: MailParts): ReportedRecipient[] {
  if (!/^\s{0,5}(?:fwd?|wg|tr|rv|i)\s{0,3}:/i.test(mail.field('subject') ?? '')) return []
  const text = mail.text.slice(0, MAX_STATUS).replace(/^(?:>[ \t]?){1,4}/gm, '')
  if (!/^reporting-mta:/im.test(text) || !hasDeliveryStatus(text)) return []
  return readDeliveryStatus(text).map((recipient) => ({ ...recipient, isSecondHand: true }))
}

function isComplete({ address, text, replyCode, phase }: ReportedRecipient): boolean {
  return address !== null && text !== '' && replyCode !== null && phase !== null
}

/** What the machine-readable part leaves out and the text says of the same address, or at all. */
function completed(
  recipient: ReportedRecipient,
  told: readonly TextRecipient[],
  general: Said | null,
): ReportedRecipient {
  const names = [recipient.address, recipient.originalAddress].map((one) => one?.toLowerCase())
  const same = told.find(({ address }) => names.includes(address.toLowerCase()))
  const other = same ?? (told.length === 1 ? told[0] : undefined)
  const said = other ?? (recipient.text === '' && saysMore(general, recipient) ? general : null)
  if (said === null) return recipient
  const isPoor = recipient.text === '' || (recipient.replyCode === null && said.replyCode !== null)
  return {
    ...recipient,
    address: recipient.address ?? other?.address ?? null,
    text: isPoor ? said.text : recipient.text,
    replyCode: recipient.replyCode ?? said.replyCode,
    status: specificStatus(recipient.status, said.status),
    phase: recipient.phase ?? said.phase,
  }
}

/** Sentences without an answer or an address may be anybody's, a disclaimer's too: a status that means one thing is better. */
function saysMore(general: Said | null, { status }: ReportedRecipient): boolean {
  return status === null || /\.0$/.test(status) || (general?.replyCode ?? general?.status ?? null) !== null
}

function toldRecipients(mail: MailParts, senders: readonly string[]): TextRecipient[] {
  return readTextReport(reportLines(readableText(mail)), (address) => senders.includes(address.toLowerCase()))
}

/** What a person would read; text parts that came as attachments too, and the bare body where nothing else is. */
function readableText(mail: MailParts): string {
  const attached = mail.parts
    .filter(({ type }) => type === 'text/plain')
    .map(({ content }) => textOf(content.subarray(0, 65_536)))
  const text = [mail.text, ...attached].join('\n').trim()
  return text === '' ? mail.body : text
}

async function toldByText(mail: MailParts): Promise<ReportedRecipient[]> {
  const text = readableText(mail)
  const original = await originalFields(mail)
  const quoted = (name: string) => original.find((field) => field.name === name)?.value ?? ''
  const to = findAddresses(quoted('to')).map(({ address }) => address.toLowerCase())
  const senders = [mail.field('to'), mail.field('delivered-to'), quoted('from'), quoted('return-path')]
    .map((value) => findAddress(value ?? '')?.toLowerCase())
    .filter((address) => address !== undefined && !to.includes(address)) as string[]
  const told = withFailedField(mail, toldRecipients(mail, senders))
  const action = actionOf(mail, text)
  const [only] = to
  const named = told.length > 0 || only === undefined || to.length > 1 ? told : [inWords(only, text)]
  return named.map((recipient) => ({
    ...recipient,
    action,
    originalAddress: null,
    remoteHost: null,
    reportingHost: null,
  }))
}

/** What reads like a report but comes from nobody who makes them, and so only with a server's own answer, or over a list: second-hand. */
async function likelyTold(mail: MailParts): Promise<ReportedRecipient[]> {
  const told = await toldByText(mail)
  const isAnswered = told.every(({ replyCode, status }) => replyCode !== null || status !== null)
  return isAnswered || isFromDaemon(mail)
    ? told.map((recipient) => ({ ...recipient, isSecondHand: true }))
    : []
}

/** Exim and Google name the recipients in a field, whatever the text says. */
function withFailedField(mail: MailParts, told: readonly TextRecipient[]): TextRecipient[] {
  const failed = findAddresses(mail.field('x-failed-recipients') ?? '', 100).map(({ address }) => address)
  if (failed.length === 0) return [...told]
  return failed.map((address) => {
    const same = told.find((one) => one.address.toLowerCase() === address.toLowerCase()) ?? told[0]
    return same === undefined ? inWords(address, readableText(mail)) : { ...same, address }
  })
}

function inWords(address: string, text: string): TextRecipient {
  const words = reportLines(text)
    .filter((line) => FAILURE.test(line))
    .join(' ')
    .slice(0, 1_000)
  return { address, text: words, replyCode: null, status: null, phase: null }
}

function actionOf(mail: MailParts, text: string): DeliveryAction {
  const said = `${mail.field('subject') ?? ''}\n${reportLines(text).join('\n')}`.slice(0, 8_000)
  return STILL_TRIED.test(said) || (DELAYED.test(said) && !GIVEN_UP.test(said)) ? 'delayed' : 'failed'
}

/** Gateways that send the bounce they were given as an attachment of their own. */
async function nestedBounce(mail: MailParts): Promise<ReportedRecipient[]> {
  for (const part of mail.parts) {
    if (part.type !== 'message/rfc822') continue
    const recipients = await readRecipients(await takeApart(part.content), 1)
    if (recipients.length > 0) return recipients
  }
  return []
}
