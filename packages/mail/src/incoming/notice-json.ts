/**
 * Bounces that a sending service tells in JSON, mailed as a text: the notifications of Amazon SES, bare or inside an SNS envelope
 * (SES developer guide, "Notification contents"; an event of a configuration set says eventType).
 */
import { type DeliveryAction, deliveryActions, type ReportedRecipient } from './incoming-mail.ts'
import type { MailParts } from './mail-parts.ts'
import { codeInText, hostInText, phaseInText, replyIn, statusInText } from './reply-in-text.ts'
import { findAddress } from './reported-address.ts'

const MAX_JSON = 262_144
const MAX_RECIPIENTS = 1_000

/** @returns nobody when the mail is no such notification, or one about something else than a bounce */
export function readNotice(mail: MailParts): ReportedRecipient[] {
  const notice = parseNotice(mail.text)
  const bounce = objectOf(notice?.['bounce'])
  if (notice === null || bounce === null) return []
  if ([notice['notificationType'], notice['eventType']].every((type) => type !== 'Bounce')) return []
  const recipients = Array.isArray(bounce['bouncedRecipients']) ? bounce['bouncedRecipients'] : []
  return recipients
    .slice(0, MAX_RECIPIENTS)
    .map(objectOf)
    .filter((recipient) => recipient !== null)
    .map((recipient) => toRecipient(recipient, bounce))
}

type Json = Record<string, unknown>

/** The object that the text begins with; what follows it is a footer. */
function parseNotice(text: string): Json | null {
  const [body] = text.slice(0, MAX_JSON).trimStart().split('\n--\n', 1)
  if (body === undefined || !body.startsWith('{')) return null
  const outer = parseObject(body)
  return typeof outer?.['Message'] === 'string' ? parseObject(outer['Message']) : outer
}

function parseObject(text: string): Json | null {
  try {
    return objectOf(JSON.parse(text))
  } catch {
    return null
  }
}

function objectOf(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null
}

function toRecipient(recipient: Json, bounce: Json): ReportedRecipient {
  const value = (of: Json, name: string) => (typeof of[name] === 'string' ? of[name].slice(0, 2_000) : '')
  const diagnostic = value(recipient, 'diagnosticCode').replace(/^[A-Za-z-]{1,30};\s{0,9}/, '')
  const action = value(recipient, 'action').toLowerCase()
  return {
    address: findAddress(value(recipient, 'emailAddress')),
    originalAddress: null,
    action: deliveryActions.find((known): known is DeliveryAction => known === action) ?? 'failed',
    status: statusInText(value(recipient, 'status')) ?? statusInText(diagnostic),
    replyCode: codeInText(diagnostic),
    // Without an answer of the other side, the service's own word for the kind is all there is.
    text: (replyIn(diagnostic) || `bounce category: ${value(bounce, 'bounceSubType')}`).slice(0, 1_000),
    remoteHost: hostInText(diagnostic),
    reportingHost: null,
    phase: phaseInText(diagnostic),
  }
}
