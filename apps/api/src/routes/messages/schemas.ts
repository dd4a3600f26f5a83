/** What the routes of messages answer, and how rows become that. */

import {
  causeKinds,
  formatId,
  type IdKind,
  idPrefixes,
  messageStatuses,
  phases,
  recipientStates,
  streams,
} from '@valija/core'
import {
  type AttemptRow,
  type ContentState,
  contentStates,
  type MessageRow,
  type RecipientRow,
} from '@valija/store'
import { type TSchema, Type } from 'typebox'
import { named, nullable, ref, time } from '../../route.ts'

const id = (kind: IdKind) =>
  Type.String({ examples: [`${idPrefixes[kind]}_0192f0c1a2b37c4d8e5f60718293a4b5`] })
const simulated = Type.Optional(
  Type.Literal(true, { description: 'Present when a simulator plays it: nothing leaves the machine.' }),
)
const resentFrom = Type.Optional(
  Type.String({ description: 'The message that was sent again with this one (POST /messages/:id/resend).' }),
)
const status = Type.Enum([...messageStatuses], {
  description:
    'While any recipient is live the first present of sending, queued, deferred, scheduled; all ended alike: that word; otherwise partially_delivered if one was delivered, else the first present of bounced, failed, suppressed, cancelled.',
})
const recipientStatus = Type.Enum([...recipientStates])
const recipientType = Type.Enum(['to', 'cc', 'bcc'])
const email = Type.String({ description: 'In canonical form: the domain as lower-case A-labels.' })

export const AcceptedMessage = named(
  'AcceptedMessage',
  Type.Object(
    {
      id: id('message'),
      status,
      delivery: Type.Enum(['capture', 'smarthost', 'mx'], {
        description: 'Where this installation sends mail.',
      }),
      created_at: time('When it was accepted.'),
      simulated,
      resent_from: resentFrom,
      recipients: Type.Array(
        Type.Object({ id: id('recipient'), email, type: recipientType, status: recipientStatus }),
      ),
    },
    { description: 'A message that was accepted: stored durably, and going to be sent.' },
  ),
)

const resultFields = {
  reason: nullable(Type.String({ description: 'Why it waits or failed, in one word.' })),
  reply: nullable(
    Type.String({ description: 'The last reply of the receiving server, or what kept it from coming.' }),
  ),
  enhanced_status: nullable(Type.String({ examples: ['5.1.1'] })),
  attempts: Type.Integer(),
  next_attempt_at: nullable(time('When it is tried again.')),
  delivered_at: nullable(time('When the receiving server took it.')),
}
const Recipient = named(
  'Recipient',
  Type.Object({ id: id('recipient'), email, type: recipientType, status: recipientStatus, ...resultFields }),
)

const content = Type.Object(
  {
    state: Type.Unsafe<ContentState>(
      Type.Enum([...contentStates], {
        description:
          '`kept`; or gone: by an erasure of all its recipients (`erased`), by the tenant’s redact_after_days (`redacted`), both with subject and metadata; because it was `sensitive`; as content grows old (`expired`).',
      }),
    ),
    since: nullable(time('Since when it is gone; null: it is kept, or that is not on record.')),
  },
  { description: 'Whether what was said in it is still there: what is gone is not to be taken for empty.' },
)

const messageFields = {
  id: id('message'),
  status,
  from: Type.String({ examples: ['Acme <hello@acme.example>'] }),
  subject: Type.String({ description: 'Empty also where it is gone: see content.' }),
  content,
  stream: Type.Enum([...streams]),
  tags: Type.Array(Type.String()),
  metadata: Type.Record(Type.String(), Type.String()),
  send_at: nullable(time('When it was asked to be sent; null: at once.')),
  created_at: time('When it was accepted.'),
  expires_at: time('When it is given up.'),
  rfc_message_id: Type.String({ description: 'Its Message-ID, with angle brackets.' }),
  size_bytes: nullable(
    Type.Integer({ description: 'Octets of the composed mail; null until it was composed.' }),
  ),
  simulated,
  sensitive: Type.Optional(
    Type.Literal(true, { description: 'Present when its body is not kept any longer than it is needed.' }),
  ),
  resent_from: resentFrom,
  template: Type.Optional(
    Type.Object(
      { slug: Type.String({ description: 'The one that it had then.' }), version: Type.Integer() },
      { description: 'Present when its content was made from a template: from this version of it.' },
    ),
  ),
}

export const Message = named(
  'Message',
  Type.Object({ ...messageFields, recipients: Type.Array(ref(Recipient)) }),
)
/** Of `messageFields`, those that whoever may only send is shown of a message that it changed. */
const {
  id: idField,
  status: statusField,
  stream,
  send_at,
  created_at,
  expires_at,
  ...readFields
} = messageFields

export const ChangedMessage = named(
  'ChangedMessage',
  Type.Object(
    {
      ...{ id: idField, status: statusField, stream, send_at, created_at, expires_at },
      ...Type.Partial(Type.Object(readFields)).properties,
      recipients: Type.Array(
        Type.Object({
          ...{ id: id('recipient'), email, type: recipientType, status: recipientStatus },
          ...Type.Partial(Type.Object(resultFields)).properties,
        }),
      ),
    },
    {
      description:
        'A message after it was changed: as GET /messages/:id shows it to keys with the scope read, and else without what was said in it and what became of it.',
    },
  ),
)
export const MessageSummary = named(
  'MessageSummary',
  Type.Object(
    { ...messageFields, recipient_count: Type.Integer() },
    { description: 'A message without its recipients.' },
  ),
)

const ms = (description?: string) => Type.Number({ ...(description && { description }) })
const Attempt = named(
  'Attempt',
  Type.Object(
    {
      id: id('attempt'),
      recipient_ids: Type.Array(Type.String()),
      number: Type.Integer({ description: 'Counts a recipient’s attempts from 1.' }),
      route: Type.String(),
      host: nullable(Type.String()),
      ip: nullable(Type.String()),
      port: nullable(Type.Integer()),
      source_ip: nullable(Type.String()),
      tls: orNull(
        Type.Object({
          version: Type.String(),
          cipher: Type.String(),
          verified: Type.Boolean(),
          policy: Type.String(),
          detail: nullable(Type.String({ description: 'Why it is not verified.' })),
        }),
      ),
      phase: Type.Enum([...phases], { description: 'The step of the conversation that decided.' }),
      reply: nullable(Type.String()),
      enhanced_status: nullable(Type.String()),
      reason: nullable(Type.String()),
      outcome: Type.String({ description: 'The recipient’s state after it.' }),
      uncertain: Type.Boolean({
        description: 'All was sent and no reply was read: the peer may have taken it.',
      }),
      started_at: time('When it began.'),
      duration_ms: ms(),
      timings_ms: Type.Object({
        dns: ms(),
        connect: ms(),
        tls: ms(),
        ehlo: ms(),
        envelope: ms(),
        data: ms(),
        total: ms(),
      }),
      transcript: Type.Array(
        Type.Object({
          t_ms: ms('Since the attempt began.'),
          from: Type.Enum(['client', 'server']),
          line: Type.String(),
        }),
        {
          description:
            'The SMTP conversation; empty unless the key has the scope read:content, and once the content of the message is `redacted` or `erased`.',
        },
      ),
    },
    { description: 'One try to hand the message to a receiving server.' },
  ),
)

export { Attempt }

export const MessageExplanation = named(
  'MessageExplanation',
  Type.Object({
    recipients: Type.Array(
      Type.Object({
        email,
        status: recipientStatus,
        summary: Type.String({ description: 'Where it stands, in a sentence.' }),
        because: Type.Array(
          Type.Object({
            kind: Type.Enum([...causeKinds], { description: 'New ones may come.' }),
            detail: Type.String({ description: 'A sentence or two for people.' }),
          }),
          { description: 'The most likely true cause first.' },
        ),
        next_attempt_at: nullable(time('When it is tried again.')),
        remedy: Type.String({ description: 'One thing that cures it, or that nothing has to be done.' }),
      }),
    ),
  }),
)

/** An object or null. */
function orNull<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()])
}

export const messageSchemas = [
  AcceptedMessage,
  Recipient,
  Message,
  ChangedMessage,
  MessageSummary,
  Attempt,
  MessageExplanation,
]

const isoOrNull = (date: Date | null) => date?.toISOString() ?? null

function showFields(row: MessageRow) {
  return {
    id: formatId('message', row.id),
    status: row.status,
    from: row.fromHeader,
    subject: row.subject,
    content: { state: row.content.state, since: isoOrNull(row.content.since) },
    stream: row.stream,
    tags: row.tags,
    metadata: row.metadata,
    send_at: isoOrNull(row.sendAt),
    created_at: row.createdAt.toISOString(),
    expires_at: row.expiresAt.toISOString(),
    rfc_message_id: row.rfcMessageId,
    size_bytes: row.sizeBytes,
    ...(row.isSimulated && { simulated: true as const }),
    ...(row.isSensitive && { sensitive: true as const }),
    ...(row.resentFrom && { resent_from: formatId('message', row.resentFrom) }),
    ...(row.template && { template: row.template }),
  }
}

export function showMessage(row: MessageRow & { recipients: RecipientRow[] }) {
  return {
    ...showFields(row),
    recipients: row.recipients.map((recipient) => ({
      id: formatId('recipient', recipient.id),
      email: recipient.email,
      type: recipient.type,
      status: recipient.status,
      reason: recipient.reason,
      reply: recipient.reply,
      enhanced_status: recipient.enhancedStatus,
      attempts: recipient.attempts,
      next_attempt_at: isoOrNull(recipient.nextAttemptAt),
      delivered_at: isoOrNull(recipient.deliveredAt),
    })),
  }
}

/** @param mayRead whether the caller's key has the scope read */
export function showChanged(row: MessageRow & { recipients: RecipientRow[] }, mayRead: boolean) {
  const shown = showMessage(row)
  if (mayRead) return shown
  const { id, status, stream, send_at, created_at, expires_at } = shown
  const recipients = shown.recipients.map(({ id, email, type, status }) => ({ id, email, type, status }))
  return { id, status, stream, send_at, created_at, expires_at, recipients }
}

export function showSummary(row: MessageRow) {
  return { ...showFields(row), recipient_count: row.recipientCount }
}

/** @param isContentShown whether the caller may see what was said, not only what came of it */
export function showAttempt(row: AttemptRow, isContentShown: boolean) {
  // How it was judged is for `explain`.
  const { transcript, judgement: _, ...report } = row.report
  return {
    id: formatId('attempt', row.id),
    recipient_ids: [formatId('recipient', row.recipientId)],
    number: row.number,
    ...report,
    reason: row.reason,
    outcome: row.outcome,
    started_at: row.startedAt.toISOString(),
    transcript: isContentShown ? transcript : [],
  }
}
