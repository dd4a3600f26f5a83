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
  namesOfKey,
  type RouteKind,
  simulationOf,
  type Uuid,
  type ValidatedMessage,
} from '@valija/core'
import { formatMailbox, identifyRaw, unsubscribeFields, writeUnsubscribeFields } from '@valija/mail'
import {
  encodeBody,
  idempotencyKeptMs,
  type NewEvent,
  type NewMessage,
  type NewRecipient,
  type SuppressionHit,
} from '@valija/store'
import type { AcceptedWay } from './accept-route.ts'
import { eventData } from './event-data.ts'

export interface IdempotencyClaim {
  key: string
  /** SHA-256 of the request's bytes. */
  bodyHash: Buffer
}

/** With all that its key may be kept by. */
export interface NamedClaim extends IdempotencyClaim {
  hiddenNames: readonly string[]
}

/** @param signingKeys of `Sealer.signingKeys(erasurePurpose)` */
export function nameClaim(
  signingKeys: readonly Buffer[],
  tenantId: Uuid,
  claim: IdempotencyClaim,
): NamedClaim {
  const [, ...hiddenNames] = namesOfKey(signingKeys, tenantId, claim.key)
  return { ...claim, hiddenNames }
}

export interface SendOptions {
  maxMessageSizeBytes: number
  /** VALIJA_DELIVERY. */
  delivery: RouteKind
  messageTtlMs: MessageTtlMs
  /** VALIJA_PUBLIC_URL, without a slash at its end: what the links in mails begin with. */
  publicUrl: string
}

export interface BuiltMessage {
  row: NewMessage
  /** The 202's JSON. */
  answer: string
  logged: { messageId: Uuid; tenantId: Uuid; from: string; recipientCount: number; sizeBytes: number }
}

export interface BuildInput {
  caller: Caller
  message: ValidatedMessage
  /** The way that it is accepted for. */
  way: AcceptedWay
  claim: NamedClaim | null
  /** PostgreSQL's clock, milliseconds since 1970. */
  nowMs: number
  nextId: IdSource
  options: SendOptions
  /** The message that is sent again with it. */
  resentFrom?: Uuid
}

export function buildMessage(input: BuildInput): BuiltMessage {
  const { caller, message, way, claim, nowMs, nextId, options } = input
  const id = nextId()
  const rfcMessageId = `<${id}@${message.from.address.domain}>`
  // Before their recipients' ids: what a worker tells comes after those (`DatabaseClock.saw`).
  const acceptedIds = message.recipients.map(() => nextId())
  const recipients = message.recipients.map((recipient) => buildRecipient(recipient, message, nextId()))
  const isSimulated = recipients.some((recipient) => recipient.simulation !== null)
  const startMs = message.sendAt?.getTime() ?? nowMs
  const prepared = prepareBody(input, rfcMessageId, id, new Date(startMs))
  const row: NewMessage = {
    id,
    tenantId: caller.tenantId,
    createdAtMs: nowMs,
    stream: message.stream,
    delivery: way.delivery,
    route: way.route,
    fromHeader: formatMailbox(message.raw?.from ?? message.from),
    fromEmail: message.from.address.email,
    fromDomain: message.from.address.domain,
    subject: message.subject,
    tags: message.tags,
    metadata: message.metadata,
    sendAtMs: message.sendAt?.getTime() ?? null,
    expiresAtMs: startMs + messageTtlMs(options.messageTtlMs, message.stream, message.ttlSeconds),
    rfcMessageId: prepared.rfcMessageId,
    requireTls: message.requireTls,
    isSimulated,
    isSensitive: message.isSensitive,
    isSandbox: message.sandbox,
    resentFrom: input.resentFrom ?? null,
    template: message.renderedFrom,
    lateAtMs: message.lateAfterSeconds === null ? null : startMs + message.lateAfterSeconds * 1_000,
    body: prepared.body,
    recipients,
    events: [],
    idempotency: claim && { ...claim, response: '', expiresAtMs: startMs + idempotencyKeptMs },
  }
  return complete(row, message.estimatedSizeBytes, { acceptedIds, hits: new Map(), nextId })
}

/** Of its recipients, in the form in which they are compared. */
export function addressesOf({ row }: BuiltMessage): string[] {
  return row.recipients.map(({ emailKey }) => emailKey)
}

/** What stops recipients of a message, by recipient. */
export type SuppressionHits = ReadonlyMap<Uuid, SuppressionHit>

/**
 * The same message, ids and bytes, with those recipients suppressed that were found on the suppression list.
 *
 * @param hits all that were found so far
 */
export function suppressRecipients(
  { row, logged }: BuiltMessage,
  hits: SuppressionHits,
  nextId: IdSource,
): BuiltMessage {
  const recipients = row.recipients.map((recipient): NewRecipient => {
    const hit = hits.get(recipient.id)
    return hit ? { ...recipient, status: 'suppressed', reason: hit.reason, seq: 2 } : recipient
  })
  const acceptedIds = row.events.filter(({ type }) => type === 'message.accepted').map(({ id }) => id)
  return complete({ ...row, recipients }, logged.sizeBytes, { acceptedIds, hits, nextId })
}

interface EventParts {
  /** Of the recipients' events `message.accepted`, in their order. */
  acceptedIds: readonly Uuid[]
  hits: SuppressionHits
  nextId: IdSource
}

/** Adds what follows from the recipients' states: the events and the 202. */
function complete(row: NewMessage, sizeBytes: number, parts: EventParts): BuiltMessage {
  const { id: messageId, tenantId, fromEmail: from, recipients, idempotency } = row
  const answer = JSON.stringify(answerOf(row))
  return {
    row: {
      ...row,
      events: buildEvents(row, parts),
      idempotency: idempotency && { ...idempotency, response: answer },
    },
    answer,
    logged: { messageId, tenantId, from, recipientCount: recipients.length, sizeBytes },
  }
}

/** @param date of the mail: when it is to be sent, so that a scheduled one does not arrive as an old one */
function prepareBody({ message, caller, options }: BuildInput, rfcMessageId: string, id: Uuid, date: Date) {
  const { unsubscribe } = message
  const personal = unsubscribe?.kind === 'ours' && { unsubscribeBase: unsubscribeBase(options.publicUrl) }
  const own = unsubscribe?.kind === 'own' ? unsubscribe : { url: null, mailto: null }
  if (message.raw !== null) {
    const { needsSmtpUtf8 } = message.raw
    const defaults = { messageId: rfcMessageId, date }
    const { bytes, messageId } = identifyRaw(message.raw, defaults, writeUnsubscribeFields(own))
    return { body: encodeBody({ kind: 'raw', bytes, needsSmtpUtf8, ...personal }), rfcMessageId: messageId }
  }
  const { from, replyTo, to, cc, subject, text, html, attachments } = message
  const body = encodeBody({
    kind: 'fields',
    ...personal,
    composition: {
      from,
      replyTo,
      to,
      cc,
      subject,
      text,
      html,
      headers: [...withDefaults(message, caller.tenantId), ...unsubscribeFields(own)],
      attachments,
      messageId: rfcMessageId,
      date,
      boundarySeed: id.replaceAll('-', ''),
    },
  })
  return { body, rfcMessageId }
}

/** What the links of all recipients have in common; what follows is a token (packages/core/src/unsubscribe-token.ts). */
export function unsubscribeBase(publicUrl: string): string {
  return `${publicUrl}/unsubscribe/`
}

/**
 * What a mail has unless its sender says otherwise: the mark of a program's mail (RFC 3834 §5), so that vacation responders leave it
 * alone, and whose it is, by which Gmail counts complaints (stream : tenant : sender; of the tenant's id only its random end).
 */
function withDefaults({ headers, stream }: ValidatedMessage, tenantId: Uuid): ValidatedMessage['headers'] {
  const defaults: ValidatedMessage['headers'] = [
    ['Auto-Submitted', 'auto-generated'],
    ['Feedback-ID', `${stream}:${tenantId.slice(-8)}:valija`],
  ]
  const own = new Set(headers.map(([name]) => name.toLowerCase()))
  return [...headers, ...defaults.filter(([name]) => !own.has(name.toLowerCase()))]
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
function buildEvents(row: NewMessage, { acceptedIds, hits, nextId }: EventParts): NewEvent[] {
  return row.recipients.flatMap((recipient, index) => {
    const event = (type: NewEvent['type'], seq: number, more: object = {}, id = nextId()): NewEvent => ({
      id,
      tenantId: row.tenantId,
      type,
      messageId: row.id,
      createdAtMs: row.createdAtMs,
      data: { ...eventData(row, recipient, recipient.simulation, seq), ...more },
    })
    const accepted = event('message.accepted', 1, {}, acceptedIds[index])
    if (recipient.status === 'suppressed') {
      const hit = hits.get(recipient.id)
      const entry = hit && { suppression_id: formatId('suppression', hit.id) }
      return [accepted, event('message.suppressed', 2, { reason: recipient.reason, ...entry })]
    }
    if (recipient.status === 'scheduled' && row.sendAtMs !== null) {
      return [accepted, event('message.scheduled', 2, { send_at: new Date(row.sendAtMs).toISOString() })]
    }
    return [accepted]
  })
}

function answerOf(row: NewMessage): object {
  return {
    id: formatId('message', row.id),
    status: messageStatus(row.recipients.map((recipient) => recipient.status)),
    delivery: row.delivery,
    created_at: new Date(row.createdAtMs).toISOString(),
    ...(row.isSimulated && { simulated: true }),
    ...(row.resentFrom && { resent_from: formatId('message', row.resentFrom) }),
    recipients: row.recipients.map((recipient) => ({
      id: formatId('recipient', recipient.id),
      email: recipient.email,
      type: recipient.type,
      status: recipient.status,
    })),
  }
}
