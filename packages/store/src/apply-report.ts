/**
 * Reports that came back as mail, written down: what a bounce or a complaint changes, in one transaction, once.
 *
 * The recipient's row is locked before anything is looked at, so of two processes that have the same report one waits and finds it
 * applied. Rows are taken in settle's order (the delivery, then the recipient), so neither can wait for the other in a circle.
 */
import {
  type EventType,
  erasedDomain,
  isEnd,
  type MailboxFault,
  type RecipientState,
  type Stream,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { isInState } from './admission.ts'
import { inTransaction } from './database.ts'
import { eventExpressions, eventParameters } from './new-events.ts'
import { dropSensitiveBodies } from './sensitive-bodies.ts'
import { suppressForComplaint } from './suppress-complaints.ts'
import { suppressMailboxes } from './suppress-mailboxes.ts'
import { countComplaint } from './warm-ups.ts'

/** A recipient that a report may be about, with all that its events tell. */
export interface ReportedMail {
  recipientId: Uuid
  messageId: Uuid
  tenantId: Uuid
  email: string
  emailKey: string
  domain: string
  stream: Stream
  fromDomain: string
  tags: string[]
  metadata: Record<string, string>
  /** With angle brackets. */
  rfcMessageId: string
  /** It never left this machine: nobody can have anything to report of it. */
  isSimulated: boolean
}

/** Recipients are made in the same moment as their message. */
const recipientsWithinMs = 3_600_000

/**
 * A recipient of a message that is not forgotten yet and whose tenant is there.
 *
 * @param ordinal of the one that is looked for; null: the only one
 * @returns none when there is none; two, whichever, when there are several and none was asked for
 */
export async function findReportedMails(
  engine: pg.Pool,
  messageId: Uuid,
  ordinal: number | null,
): Promise<ReportedMail[]> {
  const madeMs = uuidTimeMs(messageId)
  const result = await engine.query<ReportedMail>({
    name: 'find-reported-mails',
    text: `
SELECT r.id AS "recipientId", r.message_id AS "messageId", r.tenant_id AS "tenantId", r.email, r.email_key AS "emailKey", r.domain,
  m.stream, m.from_domain AS "fromDomain", m.tags, m.metadata, m.rfc_message_id AS "rfcMessageId", m.is_simulated AS "isSimulated"
FROM valija.messages AS m JOIN valija.recipients AS r ON r.message_id = m.id AND r.tenant_id = m.tenant_id
WHERE m.id = $1 AND r.id > $1 AND r.id < valija.lowest_uuid(to_timestamp($2::float8 / 1000))
  AND ($3::integer IS NULL OR r.ordinal = $3) AND EXISTS (SELECT FROM valija.tenants AS t WHERE t.id = m.tenant_id)
ORDER BY r.ordinal LIMIT 2`,
    values: [messageId, madeMs + recipientsWithinMs, ordinal],
  })
  return result.rows
}

/** What a report says of one recipient. */
export interface ReportEffect {
  mail: ReportedMail
  /** Which report this is, whichever way it came. */
  fingerprint: Buffer
  kind: 'bounce' | 'complaint'
  /** The new state and those it may follow; null leaves it. */
  change: { to: RecipientState; from: readonly RecipientState[] } | null
  reason: string | null
  reply: string | null
  enhancedStatus: string | null
  eventId: Uuid
  eventType: EventType
  createdAtMs: number
  /** The event's data, given the recipient's next number and the state that it had. */
  eventData: (seq: number, before: RecipientState) => object
  mailboxFault: MailboxFault | null
}

/**
 * `repeated`: it was applied before, or, of complaints, another one about the same mail. `ended`: the recipient is at an end that
 * the report cannot change. `live`: our own result is not written yet: the report is to come again.
 */
export type ReportOutcome = 'applied' | 'repeated' | 'ended' | 'live' | 'gone'

/** Applies a report, or finds that there is nothing to apply. */
export async function applyReport(
  engine: pg.Pool,
  effect: ReportEffect,
): Promise<{ outcome: ReportOutcome; hasWebhooks: boolean }> {
  return inTransaction(engine, 'BEGIN', async (client) => {
    const { mail, change } = effect
    const present = await lockRecipient(client, mail.recipientId)
    if (present === null) return { outcome: 'gone', hasWebhooks: false }
    // Erased since it was looked up, with the address in hand: it is looked up anew when the report comes again.
    if (present.domain !== mail.domain) return { outcome: 'live', hasWebhooks: false }
    if (await isTaken(client, effect)) return { outcome: 'repeated', hasWebhooks: false }
    if (change === null && !isEnd(present.status)) return { outcome: 'live', hasWebhooks: false }
    if (change !== null && !change.from.includes(present.status))
      return { outcome: 'ended', hasWebhooks: false }
    const isTold = await write(client, effect, present)
    if (change !== null) {
      await endDelivery(client, mail.recipientId)
      await dropSensitiveBodies(client, [mail.messageId])
    }
    const isSuppressionTold = await suppress(client, effect)
    if (effect.kind === 'complaint') await countComplaint(client, mail)
    return { outcome: 'applied', hasWebhooks: isTold || isSuppressionTold }
  })
}

interface Present {
  status: RecipientState
  domain: string
  seq: number
}

async function lockRecipient(client: pg.PoolClient, recipientId: Uuid): Promise<Present | null> {
  await client.query({
    name: 'lock-reported-delivery',
    text: 'SELECT FROM valija.deliveries WHERE recipient_id = $1 FOR UPDATE',
    values: [recipientId],
  })
  const found = await client.query<Present>({
    name: 'lock-reported-recipient',
    text: 'SELECT status, seq, domain FROM valija.recipients WHERE id = $1 FOR UPDATE',
    values: [recipientId],
  })
  return found.rows[0] ?? null
}

async function isTaken(client: pg.PoolClient, { mail, fingerprint, kind }: ReportEffect): Promise<boolean> {
  const found = await client.query({
    name: 'find-taken-report',
    text: `SELECT FROM valija.taken_reports
           WHERE recipient_id = $1 AND (fingerprint = $2 OR ($3 = 'complaint' AND kind = 'complaint')) LIMIT 1`,
    values: [mail.recipientId, fingerprint, kind],
  })
  return found.rowCount === 1
}

/** The report, the recipient's state, and the event with what webhooks are to be told. */
async function write(
  client: pg.PoolClient,
  effect: ReportEffect,
  { status, seq }: Present,
): Promise<boolean> {
  const { mail, change } = effect
  const { rows } = await client.query<{ isTold: boolean }>({
    name: 'apply-report',
    text: `
WITH taken AS (
  INSERT INTO valija.taken_reports (recipient_id, fingerprint, tenant_id, message_id, kind) VALUES ($1, $2, $3, $4, $5)
), recipient AS (
  UPDATE valija.recipients AS r
  SET seq = $6, status = coalesce($7, r.status), reason = CASE WHEN $7::text IS NULL THEN r.reason ELSE $8 END,
    reply = CASE WHEN $7::text IS NULL THEN r.reply ELSE $9 END,
    enhanced_status = CASE WHEN $7::text IS NULL THEN r.enhanced_status ELSE $10 END,
    next_attempt_at = CASE WHEN $7::text IS NULL THEN r.next_attempt_at END
  WHERE r.id = $1
), ${eventExpressions(11)}
SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
    values: [
      mail.recipientId,
      effect.fingerprint,
      mail.tenantId,
      mail.messageId,
      effect.kind,
      seq + 1,
      change?.to ?? null,
      effect.reason,
      effect.reply,
      effect.enhancedStatus,
      ...eventParameters([
        {
          id: effect.eventId,
          tenantId: mail.tenantId,
          messageId: mail.messageId,
          type: effect.eventType,
          createdAtMs: effect.createdAtMs,
          data: effect.eventData(seq + 1, status),
        },
      ]),
    ],
  })
  return rows[0]?.isTold ?? false
}

/** It is not sent again. Whoever holds its lease this moment finds the end by itself, and takes the row away. */
async function endDelivery(client: pg.PoolClient, recipientId: Uuid): Promise<void> {
  await client.query({
    name: 'end-reported-delivery',
    text: `DELETE FROM valija.deliveries WHERE recipient_id = $1 AND NOT ${isInState('state', 'leased')}`,
    values: [recipientId],
  })
}

async function suppress(client: pg.PoolClient, effect: ReportEffect): Promise<boolean> {
  const { mail, kind, mailboxFault: fault, reply } = effect
  // Whose address it is nobody knows any more.
  if (mail.domain === erasedDomain) return false
  if (kind === 'complaint') return suppressForComplaint(client, mail)
  if (fault === null) return false
  const { rows } = await client.query<{ provider: string | null }>({
    name: 'find-provider',
    text: 'SELECT provider FROM valija.destinations WHERE domain = $1 ORDER BY seen_at DESC LIMIT 1',
    values: [mail.domain],
  })
  const provider = rows[0]?.provider ?? mail.domain
  return suppressMailboxes(client, [{ recipientId: mail.recipientId, fault, provider, reply }])
}

/** Forgets reports about recipients that are forgotten themselves, some thousands at once. */
export async function forgetOldReports(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.taken_reports WHERE (recipient_id, fingerprint) IN (
       SELECT recipient_id, fingerprint FROM valija.taken_reports
       WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT 5000)`,
    [keptMs / 1000],
  )
  return result.rowCount ?? 0
}
