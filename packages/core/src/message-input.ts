/**
 * One message as a client describes it, and the product's rules for it: the same for HTTP, batches, SMTP submission and
 * the compatible dialects.
 *
 * The shape (types, unknown fields) has been checked against the JSON Schema before; here comes what a schema cannot
 * say. All faults are found in one go. The parts have files of their own: message-input-address, -headers,
 * -attachments, -unsubscribe, -times, -text.
 */
import { Buffer } from 'node:buffer'
import { type CheckedRaw, checkRaw, type Mailbox, type Parsed } from '@valija/mail'
import {
  type AddressInput,
  type AddressListInput,
  collectRecipients,
  type MessageRecipient,
  readMailbox,
  readMailboxes,
} from './message-input-address.ts'
import {
  type AttachmentInput,
  BASE64_FAULT,
  decodeBase64,
  decodedLength,
  type MessageAttachment,
  readAttachments,
} from './message-input-attachments.ts'
import { readHeaders } from './message-input-headers.ts'
import { type Fault, findLengthFault, findLineFault, findTextFault, pointer } from './message-input-text.ts'
import { checkLateLimit, checkTtl, readSendAt } from './message-input-times.ts'
import { readUnsubscribe, type UnsubscribeInput, type UnsubscribeWay } from './message-input-unsubscribe.ts'
import type { Stream } from './stream.ts'
import type { TemplateUse } from './template-input.ts'

export type {
  AddressInput,
  AddressListInput,
  MessageRecipient,
  RecipientType,
} from './message-input-address.ts'
export type { AttachmentInput, MessageAttachment } from './message-input-attachments.ts'
export type { Fault } from './message-input-text.ts'
export type { UnsubscribeInput, UnsubscribeWay } from './message-input-unsubscribe.ts'

/** The JSON body of POST /send, of known shape. */
export interface MessageInput {
  from: AddressInput
  to?: AddressListInput
  cc?: AddressListInput
  bcc?: AddressListInput
  reply_to?: AddressListInput
  subject?: string
  text?: string
  html?: string
  headers?: Record<string, string>
  attachments?: AttachmentInput[]
  /** RFC 5322 text in base64, instead of subject, text, html, headers, attachments and reply_to. */
  raw?: string
  /** Instead of text and html, and of subject unless that is given: rendered before the message is judged. */
  template?: TemplateUse
  tags?: string[]
  metadata?: Record<string, string>
  stream?: Stream
  /** RFC 3339, up to a year ahead. */
  send_at?: string
  ttl_seconds?: number
  /** Send over verified TLS or not at all. */
  require_tls?: boolean
  /** Of bulk mail: how its readers unsubscribe. */
  unsubscribe?: UnsubscribeInput
  /** Name of a route. */
  route?: string
  sandbox?: boolean
  /** The body is not kept any longer than it is needed. */
  sensitive?: boolean
  /** Seconds after which somebody is told that it is not handed off yet. */
  notify_if_not_handed_off_within?: number
}

/** The same from any way in: where `raw` came as octets, it is those. */
export interface MessageDraft extends Omit<MessageInput, 'raw'> {
  raw?: string | Buffer
  /** What its content was rendered from. */
  renderedFrom?: TemplateVersionName
}

/** A version of a template, by the slug that it had when it was rendered. */
export interface TemplateVersionName {
  slug: string
  version: number
}

export interface ValidatedMessage {
  /** The envelope's sender; also the header From, unless the message is raw. */
  from: Mailbox
  replyTo: Mailbox[]
  to: Mailbox[]
  cc: Mailbox[]
  /** Each mailbox once, in the order to, cc, bcc: its index is the recipient's ordinal. */
  recipients: MessageRecipient[]
  /** Of a raw message: decoded from its header. */
  subject: string
  text: string | null
  html: string | null
  headers: [name: string, value: string][]
  attachments: MessageAttachment[]
  /** Read for good: Message-ID and Date are put in when the message is accepted. Its tenant must be allowed to use what stands in its header From and Sender too. */
  raw: CheckedRaw | null
  tags: string[]
  metadata: Record<string, string>
  stream: Stream
  /** Null: at once. */
  sendAt: Date | null
  ttlSeconds: number | null
  requireTls: boolean
  /** Null: nothing is added for it. */
  unsubscribe: UnsubscribeWay | null
  /** Name of a route; null: the usual one. */
  route: string | null
  sandbox: boolean
  /** Its body is dropped as soon as no recipient is left to be sent to. */
  isSensitive: boolean
  /** Seconds from its start on after which it is late; null: never. */
  lateAfterSeconds: number | null
  /** Null: it was made from no template. */
  renderedFrom: TemplateVersionName | null
  /** Octets: raw, or text + html + 4/3 of the attachments. */
  estimatedSizeBytes: number
}

export interface MessageLimits {
  maxMessageSizeBytes: number
  now: Date
}

export type MessageValidation =
  | { ok: true; value: ValidatedMessage }
  | { ok: false; code: 'invalid_request' | 'message_too_large'; errors: Fault[] }

const MAX_SUBJECT_CHARACTERS = 998
const MAX_TAGS = 20
const MAX_TAG_CHARACTERS = 128
const MAX_METADATA_KEYS = 50
const MAX_METADATA_KEY_CHARACTERS = 64
const MAX_METADATA_VALUE_CHARACTERS = 512
const NOT_WITH_RAW = ['subject', 'text', 'html', 'headers', 'attachments', 'reply_to'] as const

/**
 * Applies every rule to one message.
 *
 * @param limits.now the present by the database's clock, for send_at
 * @returns the message in canonical form, or all that is wrong with it. Too large goes before everything else, since
 *   nothing is decoded then
 */
export function validateMessage(input: MessageDraft, limits: MessageLimits): MessageValidation {
  const estimatedSizeBytes = estimateSize(input)
  if (estimatedSizeBytes > limits.maxMessageSizeBytes) {
    const message = `The message is about ${estimatedSizeBytes} octets; at most ${limits.maxMessageSizeBytes} are allowed. Send large files as links.`
    return { ok: false, code: 'message_too_large', errors: [{ path: '', message }] }
  }
  const faults: Fault[] = []
  const { from, ...addressed } = readAddresses(input, faults)
  const { fieldPaths, ...content } =
    input.raw === undefined ? readContent(input, faults) : readRaw(input, input.raw, faults)
  const stream = input.stream ?? 'transactional'
  const unsubscribe = readUnsubscribe(input.unsubscribe, { stream, present: fieldPaths }, faults)
  checkTags(input.tags ?? [], faults)
  checkMetadata(input.metadata ?? {}, faults)
  const sendAt = readSendAt(input.send_at, limits.now, faults)
  checkTtl(input.ttl_seconds, faults)
  checkLateLimit(input.notify_if_not_handed_off_within, faults)
  if (from === null || faults.length > 0) return { ok: false, code: 'invalid_request', errors: faults }
  return {
    ok: true,
    value: {
      from,
      ...addressed,
      ...content,
      tags: input.tags ?? [],
      metadata: input.metadata ?? {},
      stream,
      sendAt,
      ttlSeconds: input.ttl_seconds ?? null,
      requireTls: input.require_tls ?? false,
      unsubscribe,
      route: input.route ?? null,
      sandbox: input.sandbox ?? false,
      isSensitive: input.sensitive ?? false,
      lateAfterSeconds: input.notify_if_not_handed_off_within ?? null,
      renderedFrom: input.renderedFrom ?? null,
      estimatedSizeBytes,
    },
  }
}

function estimateSize(input: MessageDraft): number {
  if (typeof input.raw === 'object') return input.raw.length
  if (input.raw !== undefined) return decodedLength(input.raw)
  const attached = (input.attachments ?? []).reduce((sum, { content }) => sum + decodedLength(content), 0)
  return (
    Buffer.byteLength(input.text ?? '') + Buffer.byteLength(input.html ?? '') + Math.ceil((attached * 4) / 3)
  )
}

type Addressed = Pick<ValidatedMessage, 'replyTo' | 'to' | 'cc' | 'recipients'> & { from: Mailbox | null }

function readAddresses(input: MessageDraft, faults: Fault[]): Addressed {
  const from = readMailbox(input.from, '/from', faults)
  const replyTo = readMailboxes(input.reply_to, '/reply_to', faults)
  const before = faults.length
  const to = readMailboxes(input.to, '/to', faults)
  const cc = readMailboxes(input.cc, '/cc', faults)
  const bcc = readMailboxes(input.bcc, '/bcc', faults)
  const recipients = collectRecipients({ to, cc, bcc }, faults.length > before, faults)
  return { from, replyTo, to, cc, recipients }
}

type Content = Pick<ValidatedMessage, 'subject' | 'text' | 'html' | 'headers' | 'attachments' | 'raw'> & {
  /** The header fields that the sender gave, by their names in lower case: where each stands. */
  fieldPaths: ReadonlyMap<string, string>
}

function readContent(input: MessageDraft, faults: Fault[]): Content {
  const { subject, text, html } = input
  if (subject === undefined) {
    faults.push({ path: '/subject', message: 'Is missing. Give a subject, or the whole message in raw.' })
  } else {
    report(faults, '/subject', findLengthFault(subject, 0, MAX_SUBJECT_CHARACTERS) ?? findLineFault(subject))
  }
  if (text === undefined && html === undefined) {
    faults.push({ path: '/text', message: 'The message has no content. Give text, html or both, or raw.' })
  }
  report(faults, '/text', findTextFault(text ?? ''))
  report(faults, '/html', findTextFault(html ?? ''))
  const headers = readHeaders(input.headers, faults)
  const attachments = readAttachments(input.attachments, faults)
  return {
    subject: subject ?? '',
    text: text ?? null,
    html: html ?? null,
    headers,
    attachments,
    raw: null,
    fieldPaths: new Map(headers.map(([name]) => [name.toLowerCase(), pointer('/headers', name)])),
  }
}

function readRaw(input: MessageDraft, given: string | Buffer, faults: Fault[]): Content {
  for (const field of NOT_WITH_RAW) {
    if (input[field] === undefined) continue
    faults.push({
      path: `/${field}`,
      message: 'Cannot stand beside raw. Put it into the raw message, or leave raw out.',
    })
  }
  const octets = typeof given === 'object' ? given : decodeBase64(given)
  const checked: Parsed<CheckedRaw> =
    octets === null ? { ok: false, message: BASE64_FAULT } : checkRaw(octets)
  if (!checked.ok) faults.push({ path: '/raw', message: checked.message })
  const raw = checked.ok ? checked.value : null
  // Encoded words can spell characters that neither PostgreSQL nor a log line can hold.
  const subject = (raw?.subject ?? '').replace(/[\0-\x20\x7f]+/g, ' ')
  return {
    subject,
    text: null,
    html: null,
    headers: [],
    attachments: [],
    raw,
    fieldPaths: new Map([...(raw?.fieldNames ?? [])].map((name) => [name, '/raw'])),
  }
}

function checkTags(tags: readonly string[], faults: Fault[]): void {
  if (tags.length > MAX_TAGS) {
    faults.push({
      path: '/tags',
      message: `There are ${tags.length} tags; at most ${MAX_TAGS} are allowed. Leave some out.`,
    })
  }
  for (const [i, tag] of tags.entries()) {
    report(faults, pointer('/tags', i), findLengthFault(tag, 1, MAX_TAG_CHARACTERS) ?? findLineFault(tag))
  }
}

function checkMetadata(metadata: Readonly<Record<string, string>>, faults: Fault[]): void {
  const entries = Object.entries(metadata)
  if (entries.length > MAX_METADATA_KEYS) {
    const message = `There are ${entries.length} keys; at most ${MAX_METADATA_KEYS} are allowed. Leave some out.`
    faults.push({ path: '/metadata', message })
  }
  for (const [key, value] of entries) {
    const keyFault = findLengthFault(key, 1, MAX_METADATA_KEY_CHARACTERS) ?? findLineFault(key)
    const valueFault = findLengthFault(value, 0, MAX_METADATA_VALUE_CHARACTERS) ?? findTextFault(value)
    const path = pointer('/metadata', key)
    if (keyFault !== null) faults.push({ path, message: `The key: ${keyFault}` })
    report(faults, path, valueFault)
  }
}

function report(faults: Fault[], path: string, message: string | null): void {
  if (message !== null) faults.push({ path, message })
}
