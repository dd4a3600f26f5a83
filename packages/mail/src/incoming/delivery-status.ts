/**
 * Delivery status notifications: the machine-readable part (RFC 3464 section 2, RFC 6533 section 4), as it is found.
 *
 * Blocks of fields, the first about the message, each other about a recipient. Many senders leave out the empty lines between
 * them, so a second Final-Recipient begins a recipient too.
 */
import { type DeliveryAction, deliveryActions, type ReportedRecipient } from './incoming-mail.ts'
import { codeInText, hostInText, phaseInText, replyIn, statusInText } from './reply-in-text.ts'
import { reportedAddress } from './reported-address.ts'

/** More than one mail of ours has recipients for one host; a report with more is somebody's attack. */
const MAX_RECIPIENTS = 1_000
const MAX_LINES = 20_000
const MAX_VALUE = 8_000
const FIELD = /^([A-Za-z][A-Za-z0-9-]{1,60})[ \t]{0,5}:(.{0,8000})/

type Fields = Map<string, string>

/** Whether a text holds fields of a delivery status. */
export function hasDeliveryStatus(text: string): boolean {
  return /^(?:final-recipient|original-recipient|x-actual-recipient)[ \t]{0,5}:/im.test(text)
}

/**
 * Reads the recipients of a delivery status.
 *
 * @param text the part, decoded, with LF
 */
export function readDeliveryStatus(text: string): ReportedRecipient[] {
  const [ofMessage, ...others] = splitBlocks(text)
  if (ofMessage === undefined) return []
  const reportingHost = hostOf(ofMessage.get('reporting-mta') ?? null)
  const blocks = isRecipient(ofMessage) ? [ofMessage, ...others] : others
  const recipients = blocks
    .filter(isRecipient)
    .slice(0, MAX_RECIPIENTS)
    .map((fields) => toRecipient(fields, reportingHost))
  return onceEach(recipients)
}

/** Systems that expand aliases tell the same address again with each. */
function onceEach(recipients: readonly ReportedRecipient[]): ReportedRecipient[] {
  const seen = new Set<string>()
  return recipients.filter(({ address, action }) => {
    if (address === null) return true
    const key = `${action} ${address.toLowerCase()}`
    return !seen.has(key) && seen.add(key)
  })
}

function isRecipient(fields: Fields): boolean {
  return ['final-recipient', 'original-recipient', 'x-actual-recipient'].some((name) => fields.has(name))
}

function splitBlocks(text: string): Fields[] {
  const blocks: Fields[] = []
  let fields: Fields = new Map()
  let last: string | null = null
  const close = () => {
    if (fields.size > 0) blocks.push(fields)
    fields = new Map()
    last = null
  }
  for (const line of text.split('\n', MAX_LINES)) {
    if (line.trim() === '') {
      close()
      continue
    }
    const match = FIELD.exec(line)
    if (/^[ \t]/.test(line) || match === null) {
      const before = last === null ? undefined : fields.get(last)
      if (last !== null && before !== undefined && before.length < MAX_VALUE)
        fields.set(last, `${before} ${line.trim()}`.trim())
      continue
    }
    const name = (match[1] as string).toLowerCase()
    if (name === 'final-recipient' && fields.has(name)) close()
    last = name
    // The first wins, but for a value that says nothing.
    if ((fields.get(name) ?? '') === '') fields.set(name, (match[2] as string).trim())
    else last = null
  }
  close()
  return blocks
}

function toRecipient(fields: Fields, reportingHost: string | null): ReportedRecipient {
  const final = reportedAddress(fields.get('final-recipient') ?? null)
  const original = reportedAddress(fields.get('original-recipient') ?? null)
  const actual = reportedAddress(fields.get('x-actual-recipient') ?? null)
  const diagnostic = withoutType(fields.get('diagnostic-code') || answerOf(fields))
  return {
    address: final ?? original ?? actual,
    originalAddress: original,
    action: actionOf(fields.get('action') ?? '', fields.get('status') ?? ''),
    status: specificStatus(statusOf(fields.get('status') ?? ''), statusInText(diagnostic)),
    replyCode: /^x-unix\b/i.test(diagnostic) ? null : codeInText(diagnostic),
    text: (replyIn(diagnostic) || categoryOf(fields) || commentOf(fields.get('status') ?? '')).slice(
      0,
      1_000,
    ),
    remoteHost: hostOf(fields.get('remote-mta') ?? null) ?? hostInText(diagnostic),
    reportingHost,
    phase: phaseInText(diagnostic),
  }
}

/** A field of the system's own, such as X-Supplementary-Info, that quotes an answer with its code. */
function answerOf(fields: Fields): string {
  for (const [name, value] of fields) {
    if (
      /^x-.{0,50}(?:info|diagnos|reason|error|response|reply|text)/.test(name) &&
      codeInText(value) !== null
    )
      return replyIn(value)
  }
  return ''
}

/** `smtp; 550 5.1.1 …` → `550 5.1.1 …` */
function withoutType(value: string): string {
  // What a program said is no reply, however it looks.
  if (/^x-unix\b/i.test(value)) return value
  return value.replace(/^[A-Za-z0-9-]{1,30}[ \t]{0,5};[ \t]{0,20}/, '')
}

/** `5.1.1 (bad destination mailbox address)` → `5.1.1` */
function statusOf(value: string): string | null {
  const match = /\b([245])\.(\d{1,3})\.(\d{1,3})\b/.exec(value)
  return match === null ? null : `${Number(match[1])}.${Number(match[2])}.${Number(match[3])}`
}

/** PowerMTA's word for the kind of failure, where it had no answer to quote. */
function categoryOf(fields: Fields): string {
  const category = fields.get('x-powermta-bouncecategory') ?? ''
  return category === '' ? '' : `bounce category: ${category}`
}

/** `4.0.0 (mx.example.net: host name lookup failure)` → what is in the parentheses */
function commentOf(value: string): string {
  return /\(([^()]{1,500})\)/.exec(value)?.[1] ?? ''
}

/** Hosts that know no better write `5.0.0`; the reply that they quote may say more. */
export function specificStatus(stated: string | null, quoted: string | null): string | null {
  const isVague = stated === null || /^[45]\.0\.0$/.test(stated)
  return isVague ? (quoted ?? stated) : stated
}

function actionOf(value: string, status: string): DeliveryAction {
  const word = /^[a-z]{1,20}/.exec(value.trim().toLowerCase())?.[0] ?? ''
  const known = deliveryActions.find((action) => action === word)
  if (known !== undefined) return known
  if (/^(?:deliverable|deliver)/.test(word)) return 'delivered'
  if (/^delay/.test(word)) return 'delayed'
  return /^\s{0,5}2\./.test(status) ? 'delivered' : 'failed'
}

/** `dns; mx.example.net (192.0.2.1)` → `mx.example.net` */
function hostOf(value: string | null): string | null {
  if (value === null) return null
  const name = withoutType(value).trim().split(/[\s(]/, 1)[0] ?? ''
  return name === '' ? null : name.slice(0, 255)
}
