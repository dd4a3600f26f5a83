/**
 * From a validated message to the rows that are stored and the 202 that is answered. No I/O: everything is decided here.
 */
import {
  type Caller,
  formatId,
  type IdSource,
  type MessageTtlMs,
  messageStatus,
  messageTtlMs,
  simulationOf,
  type Uuid,
  type ValidatedMessage,
} from '@valija/core'
import { formatMailbox, prepareRaw } from '@valija/mail'
import { encodeBody, type NewEvent, type NewMessage, type NewRecipient } from '@valija/store'
import { eventData } from './event-data.ts'

export interface IdempotencyClaim {
  key: string
  /** SHA-256 of the request's bytes. */
  bodyHash: Buffer
}

export interface SendOptions {
  maxMessageSizeBytes: number
  delivery: string
  messageTtlMs: MessageTtlMs
}

/** How long an answer is kept after acceptance or send_at. */
const idempotencyKeptMs = 24 * 3_600_000

export interface BuiltMessage {
  row: NewMessage
  /** The 202's JSON. */
  answer: string
  logged: { messageId: Uuid; tenantId: Uuid; from: string; recipientCount: number; sizeBytes: number }
}

export interface BuildInput {
  caller: Caller
  message: ValidatedMessage
  claim: IdempotencyClaim | null
  /** PostgreSQL's clock, milliseconds since 1970. */
  nowMs: number
  nextId: IdSource
  options: SendOptions
}

export function buildMessage({ caller, message, claim, nowMs, nextId, options }: BuildInput): BuiltMessage {
  const id = nextId()
  const rfcMessageId = `<${id}@${message.from.address.domain}>`
  const recipients = message.recipients.map((recipient) => buildRecipient(recipient, message, nextId()))
  const isSimulated = recipients.some((recipient) => recipient.simulation !== null)
  const route = caller.route ?? options.delivery
  const startMs = message.sendAt?.getTime() ?? nowMs
  const prepared = prepareBody(message, rfcMessageId, id, new Date(startMs))
  const row: NewMessage = {
    id,
    tenantId: caller.tenantId,
    createdAtMs: nowMs,
    stream: message.stream,
    delivery: route,
    route,
    fromHeader: formatMailbox(message.rawFrom ?? message.from),
    fromEmail: message.from.address.email,
    fromDomain: message.from.address.domain,
    subject: message.subject,
    tags: message.tags,
    metadata: message.metadata,
    sendAtMs: message.sendAt?.getTime() ?? null,
    expiresAtMs: startMs + messageTtlMs(options.messageTtlMs, message.stream, message.ttlSeconds),
    rfcMessageId: prepared.rfcMessageId,
    isSimulated,
    body: prepared.body,
    recipients,
    events: [],
    idempotency: null,
  }
  const answer = JSON.stringify(answerOf(row, message.sandbox))
  return {
    row: {
      ...row,
      events: buildEvents(row, nextId),
      idempotency: claim && { ...claim, response: answer, expiresAtMs: startMs + idempotencyKeptMs },
    },
    answer,
    logged: {
      messageId: id,
      tenantId: caller.tenantId,
      from: row.fromEmail,
      recipientCount: recipients.length,
      sizeBytes: message.estimatedSizeBytes,
    },
  }
}

/** @param date of the mail: when it is to be sent, so that a scheduled one does not arrive as an old one */
function prepareBody(message: ValidatedMessage, rfcMessageId: string, id: Uuid, date: Date) {
  if (message.raw !== null) {
    const raw = prepareRaw(message.raw, { messageId: rfcMessageId, date })
    // validateMessage has prepared it once already, with other defaults.
    if (!raw.ok) throw new Error(`a valid raw message was refused: ${raw.message}`)
    const body = encodeBody({ kind: 'raw', bytes: raw.value.bytes, needsSmtpUtf8: raw.value.needsSmtpUtf8 })
    return { body, rfcMessageId: raw.value.messageId }
  }
  const { from, replyTo, to, cc, subject, text, html, attachments } = message
  const body = encodeBody({
    kind: 'fields',
    composition: {
      from,
      replyTo,
      to,
      cc,
      subject,
      text,
      html,
      headers: withDefaults(message.headers),
      attachments,
      messageId: rfcMessageId,
      date,
      boundarySeed: id.replaceAll('-', ''),
    },
  })
  return { body, rfcMessageId }
}

/** Marks the mail as made by a program (RFC 3834 §5), so that vacation responders leave it alone. */
function withDefaults(headers: ValidatedMessage['headers']): ValidatedMessage['headers'] {
  const hasOwn = headers.some(([name]) => name.toLowerCase() === 'auto-submitted')
  return hasOwn ? headers : [...headers, ['Auto-Submitted', 'auto-generated']]
}

function buildRecipient(
  { address, type }: ValidatedMessage['recipients'][number],
  message: ValidatedMessage,
  id: Uuid,
): NewRecipient {
  const simulation = simulationOf(address, message.sandbox)
  const isSuppressed = simulation === 'suppressed'
  const isScheduled = message.sendAt !== null && !isSuppressed
  return {
    id,
    email: address.email,
    emailKey: `${address.key}@${address.domain}`,
    domain: address.domain,
    type,
    status: isSuppressed ? 'suppressed' : isScheduled ? 'scheduled' : 'queued',
    reason: isSuppressed ? 'simulated' : null,
    simulation,
    seq: isSuppressed || isScheduled ? 2 : 1,
  }
}

/** `accepted` for every recipient, and what else has happened to it by its acceptance. */
function buildEvents(row: NewMessage, nextId: IdSource): NewEvent[] {
  return row.recipients.flatMap((recipient) => {
    const event = (type: NewEvent['type'], seq: number, more: object = {}): NewEvent => ({
      id: nextId(),
      tenantId: row.tenantId,
      type,
      messageId: row.id,
      createdAtMs: row.createdAtMs,
      data: { ...eventData(row, recipient, recipient.simulation, seq), ...more },
    })
    const accepted = event('message.accepted', 1)
    if (recipient.status === 'suppressed') {
      return [accepted, event('message.suppressed', 2, { reason: recipient.reason })]
    }
    if (recipient.status === 'scheduled' && row.sendAtMs !== null) {
      return [accepted, event('message.scheduled', 2, { send_at: new Date(row.sendAtMs).toISOString() })]
    }
    return [accepted]
  })
}

function answerOf(row: NewMessage, isSandbox: boolean): object {
  return {
    id: formatId('message', row.id),
    status: messageStatus(row.recipients.map((recipient) => recipient.status)),
    delivery: row.delivery,
    created_at: new Date(row.createdAtMs).toISOString(),
    ...((row.isSimulated || isSandbox) && { simulated: true }),
    recipients: row.recipients.map((recipient) => ({
      id: formatId('recipient', recipient.id),
      email: recipient.email,
      type: recipient.type,
      status: recipient.status,
    })),
  }
}
