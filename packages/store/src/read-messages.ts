/**
 * Reading messages and what became of them, with a tenant's rights.
 *
 * Every query is bounded by ids, so that PostgreSQL opens only the days it needs: what belongs to a message has ids
 * (UUIDv7) of about its own time or later, and end a known time after. `sending` is derived here from the delivery's lease; a message's
 * status is a fold over its recipients' states (packages/core/src/recipient-state.ts).
 */
import {
  isEnd,
  lowestUuidAt,
  type MessageStatus,
  messageStatus,
  type RecipientState,
  recipientStates,
  type Stream,
  shownState,
  type TemplateVersionName,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { isInState } from './admission.ts'
import { type Database, readAsTenant } from './database.ts'
import { type ContentRow, type MessageContent, withContents } from './message-content.ts'
import { earliestIdOf } from './message-ids.ts'
import { extendedSql } from './suspend-tenant.ts'

/** A message as its list shows it. */
export interface MessageRow {
  id: Uuid
  createdAt: Date
  stream: Stream
  delivery: string
  /** Of the envelope's sender. */
  fromDomain: string
  fromHeader: string
  subject: string
  tags: string[]
  metadata: Record<string, string>
  sendAt: Date | null
  expiresAt: Date
  rfcMessageId: string
  isSimulated: boolean
  isSensitive: boolean
  resentFrom: Uuid | null
  /** What it was made from; null: no template, or by a version that did not write it down. */
  template: TemplateVersionName | null
  recipientCount: number
  status: MessageStatus
  /** Octets of the composed mail; null until it was composed. */
  sizeBytes: number | null
  /** Whether what was said in it is kept. */
  content: MessageContent
}

export interface RecipientRow {
  id: Uuid
  email: string
  type: 'to' | 'cc' | 'bcc'
  status: RecipientState
  reason: string | null
  reply: string | null
  enhancedStatus: string | null
  attempts: number
  nextAttemptAt: Date | null
  deliveredAt: Date | null
}

export interface AttemptRow {
  id: Uuid
  recipientId: Uuid
  number: number
  outcome: string
  reason: string | null
  startedAt: Date
  /** The rest of what is shown, transcript included. */
  report: Record<string, unknown>
}

/** Recipients are made in the same moment as their message. */
export const recipientsWithinMs = 3_600_000
/** A worker's clock and a settle that had to wait. */
const slackMs = 86_400_000

const stateBits = new Map(recipientStates.map((state, index) => [state, 1 << index]))

/** The states in a set that `shownStatesSql` made. */
export function statesOf(bits: number): RecipientState[] {
  return recipientStates.filter((state) => (bits & (stateBits.get(state) ?? 0)) !== 0)
}

/** The bit of the state that a recipient is shown in, `r` being the recipient and `d` its lease, if there is one. */
export const shownBitSql = `CASE WHEN d.recipient_id IS NULL THEN ${caseOf((state) => state)} ELSE ${caseOf((state) => shownState(state, true))} END`

function caseOf(shown: (state: RecipientState) => RecipientState): string {
  const branches = recipientStates.map((state) => `WHEN '${state}' THEN ${stateBits.get(shown(state))}`)
  return `CASE r.status ${branches.join(' ')} END`
}

export const leaseSql = `LEFT JOIN valija.deliveries AS d
      ON d.recipient_id = r.id AND d.tenant_id = r.tenant_id AND ${isInState('d.state', 'leased')} AND d.leased_until > now()`

const templateSql = `CASE WHEN m.template_slug IS NOT NULL THEN jsonb_build_object('slug', m.template_slug, 'version', m.template_version) END`

export const messageColumns = `m.id, m.created_at AS "createdAt", m.stream, m.delivery, m.from_domain AS "fromDomain", m.from_header AS "fromHeader", m.subject, m.tags,
  m.metadata, m.send_at AS "sendAt", ${extendedSql('m', 'messages')} AS "expiresAt", m.rfc_message_id AS "rfcMessageId",
  m.is_simulated AS "isSimulated", m.is_sensitive AS "isSensitive", m.resent_from AS "resentFrom", ${templateSql} AS template,
  m.recipient_count AS "recipientCount",
  m.redacted_at AS "redactedAt", m.erased_at AS "erasedAt"`

export type StoredMessage = Omit<MessageRow, 'status' | 'sizeBytes' | 'content'> & ContentRow

/** One message with its recipients, in the order they were given; null for one that is unknown or another tenant's. */
export async function findMessage(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<(MessageRow & { recipients: RecipientRow[] }) | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const message = await findStored(client, tenantId, id)
    if (message === null) return null
    const result = await client.query<RecipientRow & { isLeased: boolean; sizeBytes: number | null }>({
      name: 'find-recipients',
      text: `SELECT r.id, r.email, r.type, r.status, r.reason, r.reply, r.enhanced_status AS "enhancedStatus", r.attempts,
          r.next_attempt_at AS "nextAttemptAt", r.delivered_at AS "deliveredAt", r.size_bytes AS "sizeBytes",
          d.recipient_id IS NOT NULL AS "isLeased"
        FROM valija.recipients AS r ${leaseSql}
        WHERE r.tenant_id = $1 AND r.message_id = $2 AND r.id > $2 AND r.id < $3
        ORDER BY r.ordinal`,
      values: [tenantId, id, lowestUuidAt(message.createdAt.getTime() + recipientsWithinMs)],
    })
    const recipients = result.rows.map(({ isLeased, sizeBytes: _, ...row }) => ({
      ...row,
      status: shownState(row.status, isLeased),
      // What is at its end, or being sent, has no next attempt.
      nextAttemptAt: isLeased || isEnd(row.status) ? null : row.nextAttemptAt,
    }))
    const [shown] = await withContents(client, tenantId, [message])
    const sizes = result.rows.flatMap((row) => row.sizeBytes ?? [])
    if (shown === undefined) return null
    return {
      ...shown,
      status: messageStatus(recipients.map((recipient) => recipient.status)),
      sizeBytes: sizes.length > 0 ? Math.max(...sizes) : null,
      recipients,
    }
  })
}

async function findStored(client: pg.PoolClient, tenantId: Uuid, id: Uuid): Promise<StoredMessage | null> {
  const result = await client.query<StoredMessage>({
    name: 'find-message',
    text: `SELECT ${messageColumns} FROM valija.messages AS m WHERE m.tenant_id = $1 AND m.id = $2`,
    values: [tenantId, id],
  })
  return result.rows[0] ?? null
}

/**
 * A message's attempts, oldest first; null for a message that is unknown or another tenant's.
 *
 * @param page.after only later attempts than this one; null for the first page
 */
export async function findAttempts(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
  page: { after: Uuid | null; limit: number },
): Promise<AttemptRow[] | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const message = await findStored(client, tenantId, messageId)
    if (message === null) return null
    const result = await client.query<AttemptRow>({
      name: 'find-attempts',
      text: `SELECT id, recipient_id AS "recipientId", number, outcome, reason, started_at AS "startedAt", report
        FROM valija.attempts
        WHERE tenant_id = $1 AND message_id = $2 AND id > $3 AND id < $4
        ORDER BY id LIMIT $5`,
      values: [
        tenantId,
        messageId,
        page.after ?? earliestIdOf(messageId),
        lowestUuidAt(message.expiresAt.getTime() + slackMs),
        page.limit,
      ],
    })
    return result.rows
  })
}

/** A stored mail with what its signature depends on. */
export interface StoredMail {
  /** See `decodeBody`. */
  content: Buffer
  fromDomain: string
  stream: Stream
  createdAt: Date
  sendAt: Date | null
  /** The first of its recipients. */
  recipientId: Uuid
  email: string
}

/** Null when there is none, its body is not kept any more, or it is another tenant's. */
export async function findStoredMail(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<StoredMail | null> {
  const result = await readAsTenant(database, tenantId, (client) =>
    client.query<StoredMail>({
      name: 'find-stored-mail',
      text: `SELECT b.content, m.from_domain AS "fromDomain", m.stream, m.created_at AS "createdAt", m.send_at AS "sendAt",
               r.id AS "recipientId", r.email
             FROM valija.bodies AS b JOIN valija.messages AS m ON m.id = b.message_id AND m.tenant_id = b.tenant_id
             CROSS JOIN LATERAL (
               SELECT r.id, r.email FROM valija.recipients AS r
               WHERE r.tenant_id = $1 AND r.message_id = $2 AND r.id BETWEEN $2 AND $3 ORDER BY r.ordinal LIMIT 1) AS r
             WHERE b.tenant_id = $1 AND b.message_id = $2 AND m.id = $2`,
      // As in `findMessage`, by the id's own time: both are of the moment of acceptance.
      values: [tenantId, messageId, lowestUuidAt(uuidTimeMs(messageId) + recipientsWithinMs)],
    }),
  )
  return result.rows[0] ?? null
}

/** A message with all that sending it again needs. */
export interface SentMessage {
  /** See `decodeBody`; null when it is not kept any more. */
  content: Buffer | null
  fromEmail: string
  subject: string
  stream: Stream
  tags: string[]
  metadata: Record<string, string>
  createdAt: Date
  sendAt: Date | null
  expiresAt: Date
  requireTls: boolean
  isSimulated: boolean
  isSensitive: boolean
  /** Null: it was not written down. */
  isSandbox: boolean | null
  /** As it was asked for; null: never, or by a version that did not write it down. */
  lateAfterSeconds: number | null
  template: TemplateVersionName | null
  /** In the order in which they were given. */
  recipients: { email: string; type: 'to' | 'cc' | 'bcc' }[]
}

/** Null for a message that is unknown or another tenant's. */
export async function findSentMessage(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<SentMessage | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const found = await client.query<Omit<SentMessage, 'recipients'>>({
      name: 'find-sent-message',
      text: `SELECT b.content, m.from_email AS "fromEmail", m.subject, m.stream, m.tags, m.metadata, m.created_at AS "createdAt",
               m.send_at AS "sendAt", m.expires_at AS "expiresAt", m.require_tls AS "requireTls", m.is_simulated AS "isSimulated",
               m.is_sensitive AS "isSensitive", m.is_sandbox AS "isSandbox",
               m.late_after AS "lateAfterSeconds", ${templateSql} AS template
             FROM valija.messages AS m LEFT JOIN valija.bodies AS b ON b.message_id = m.id AND b.tenant_id = m.tenant_id AND b.message_id = $2
             WHERE m.tenant_id = $1 AND m.id = $2`,
      values: [tenantId, messageId],
    })
    const message = found.rows[0]
    if (message === undefined) return null
    const { rows: recipients } = await client.query<SentMessage['recipients'][number]>({
      name: 'find-sent-recipients',
      text: `SELECT email, type FROM valija.recipients
             WHERE tenant_id = $1 AND message_id = $2 AND id > $2 AND id < $3 ORDER BY ordinal`,
      values: [tenantId, messageId, lowestUuidAt(uuidTimeMs(messageId) + recipientsWithinMs)],
    })
    return { ...message, recipients }
  })
}
