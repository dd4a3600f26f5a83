/**
 * What following the link in a mail does: its owner's address is suppressed for the stream of that mail, and for no other. One
 * transaction writes the entry, its mark on the recipient, and the events of both, so that whoever clicks twice has clicked once.
 *
 * The mail may be long forgotten, or its recipient erased: then there is no recipient to mark, and nothing to tell of it; the entry is made all the
 * same. One of an erased recipient does not say from which mail it is: it would tell whose placeholder that is.
 */
import { erasedDomain, type Stream, type SuppressionReason, type Uuid } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { messageBounds } from './lease-deliveries.ts'
import { eventExpressions, eventExpressionsOf, eventParameters, type NewEvent } from './new-events.ts'
import { type Removed, removalSql } from './suppression-removals.ts'
import { suppressionEvents } from './suppressions.ts'

const reason: SuppressionReason = 'unsubscribe'

/** Who unsubscribes from what. */
export interface Unsubscriber {
  tenantId: Uuid
  messageId: Uuid
  recipientId: Uuid
  stream: Stream
  email: string
  emailKey: string
}

/** What is still known of a mail: null once it is forgotten. */
export interface LinkedMail {
  fromDomain: string
  tags: string[]
  metadata: Record<string, string>
}

/** What the page of a link shows. */
export interface LinkState {
  fromDomain: string | null
  /** Whether mail of this stream to this address is stopped. */
  isSuppressed: boolean
  /** This very link stopped it a short while ago: perhaps it was a slip. */
  canTakeBack: boolean
}

/** @returns null when there is no such tenant any more */
export async function readLinkState(
  database: Database,
  { tenantId, messageId, recipientId, stream, emailKey }: Unsubscriber,
): Promise<LinkState | null> {
  const { rows } = await database.engine.query<LinkState>({
    name: 'read-link-state',
    text: `
SELECT (SELECT m.from_domain FROM valija.messages AS m
    WHERE m.id = $2 AND m.tenant_id = $1 AND m.id BETWEEN $5 AND $6) AS "fromDomain",
  EXISTS (SELECT FROM valija.suppressions AS s
    WHERE s.tenant_id = $1 AND s.email_key = $3 AND (s.stream IS NULL OR s.stream = $4) AND s.quarantined_at IS NULL) AS "isSuppressed",
  EXISTS (${slipSql('$1', '$3', '$4', '$7')}) AS "canTakeBack"
FROM valija.tenants WHERE id = $1`,
    values: [tenantId, messageId, emailKey, stream, ...messageBounds(recipientId, recipientId), recipientId],
  })
  return rows[0] ?? null
}

/** An undo and no form to subscribe by: whoever finds an old mail somewhere must not put its reader back on a list. */
const takenBackWithin = `interval '1 hour'`

/** The entry that this very link made a short while ago. */
const slipSql = (tenantId: string, emailKey: string, stream: string, recipientId: string) => `
  SELECT s.id FROM valija.suppressions AS s
  WHERE s.tenant_id = ${tenantId} AND s.email_key = ${emailKey} AND s.stream = ${stream} AND s.recipient_id = ${recipientId}
    AND s.reason = '${reason}' AND s.created_at > now() - ${takenBackWithin}`

/** Takes back what the link has done a short while ago; else nothing is changed. */
export async function takeBackUnsubscribe(
  database: Database,
  { tenantId, messageId, recipientId, stream, emailKey }: Unsubscriber,
): Promise<{ isTakenBack: boolean; hasWebhooks: boolean }> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<Removed>({
      name: 'take-back-unsubscribe',
      text: removalSql(`${slipSql('$1', '$2', '$3', '$4')} FOR UPDATE`, `'resubscribed'`, 'NULL'),
      values: [tenantId, emailKey, stream, recipientId],
    })
    if (rows[0]?.count !== 1) return { isTakenBack: false, hasWebhooks: false }
    await client.query({
      name: 'unmark-unsubscriber',
      text: `UPDATE valija.recipients SET unsubscribed_at = NULL WHERE id = $1 AND message_id = $2 AND tenant_id = $3`,
      values: [recipientId, messageId, tenantId],
    })
    return { isTakenBack: true, hasWebhooks: rows[0].isTold }
  })
}

export interface UnsubscribeOutcome extends LinkState {
  hasWebhooks: boolean
}

/** Makes the event `message.unsubscribed` of a mail, with its number among the recipient's events. */
export type TellUnsubscribed = (mail: LinkedMail, seq: number, suppressionId: Uuid) => NewEvent

/** @returns null when there is no such tenant any more: then nothing is changed */
export async function recordUnsubscribe(
  database: Database,
  unsubscriber: Unsubscriber,
  tell: TellUnsubscribed,
): Promise<UnsubscribeOutcome | null> {
  return asEngine(database, async (client) => {
    const tenant = await client.query('SELECT FROM valija.tenants WHERE id = $1 FOR KEY SHARE', [
      unsubscriber.tenantId,
    ])
    if (tenant.rowCount === 0) return null
    const isErased = await lockRecipient(client, unsubscriber)
    const linked = await findLinkedMail(client, unsubscriber)
    const mail = isErased ? null : linked
    const entry = await suppress(client, unsubscriber, { mail, isErased })
    const seq = mail && (await markRecipient(client, unsubscriber, entry.isNew))
    const isMailTold = seq !== null && mail !== null && (await write(client, tell(mail, seq, entry.id)))
    return {
      fromDomain: linked?.fromDomain ?? null,
      isSuppressed: true,
      canTakeBack: entry.isNew && !isErased,
      hasWebhooks: entry.isTold || isMailTold,
    }
  })
}

/**
 * First of all, as in a step of an erasure (erase-recipients.ts): that has ended by then, or finds what is written here.
 *
 * @returns whether the recipient was erased
 */
async function lockRecipient(
  client: pg.PoolClient,
  { tenantId, messageId, recipientId }: Unsubscriber,
): Promise<boolean> {
  const { rows } = await client.query<{ domain: string }>({
    name: 'lock-unsubscriber',
    text: `SELECT domain FROM valija.recipients WHERE id = $1 AND message_id = $2 AND tenant_id = $3 FOR NO KEY UPDATE`,
    values: [recipientId, messageId, tenantId],
  })
  return rows[0]?.domain === erasedDomain
}

async function findLinkedMail(
  client: pg.PoolClient,
  { tenantId, messageId, recipientId }: Unsubscriber,
): Promise<LinkedMail | null> {
  const { rows } = await client.query<LinkedMail>({
    name: 'find-linked-mail',
    text: `SELECT from_domain AS "fromDomain", tags, metadata FROM valija.messages
      WHERE id = $1 AND tenant_id = $2 AND id BETWEEN $3 AND $4`,
    values: [messageId, tenantId, ...messageBounds(recipientId, recipientId)],
  })
  return rows[0] ?? null
}

interface Entry {
  id: Uuid
  /** It was not in force before. */
  isNew: boolean
  isTold: boolean
}

/**
 * Puts the address on the list, for this stream. An entry for both streams is another matter, and may go without this wish; one that
 * somebody made by hand for this stream becomes the owner's, so that nobody takes it off as his own. A complaint says more.
 */
async function suppress(
  client: pg.PoolClient,
  { tenantId, messageId, recipientId, stream, email, emailKey }: Unsubscriber,
  { mail, isErased }: { mail: LinkedMail | null; isErased: boolean },
): Promise<Entry> {
  const sender = mail ? { domain: mail.fromDomain, tags: mail.tags } : {}
  const made = await client.query<{ id: Uuid; isTold: boolean }>({
    name: 'suppress-unsubscriber',
    text: `
WITH kept AS (
  INSERT INTO valija.suppressions AS s (id, tenant_id, email, email_key, stream, reason, recipient_id, message_id)
  VALUES (valija.new_id(), $1, $2, $3, $4, '${reason}', $5, $6)
  ON CONFLICT (tenant_id, email_key, stream) DO UPDATE
    SET reason = excluded.reason, quarantined_at = NULL, recipient_id = excluded.recipient_id, message_id = excluded.message_id,
      reply = NULL, provider = NULL
    WHERE s.quarantined_at IS NOT NULL
  RETURNING *
), ${eventExpressionsOf(suppressionEvents('suppression.added', 'SELECT * FROM kept', '$7::jsonb'))}
SELECT id, EXISTS (SELECT FROM outbox) AS "isTold" FROM kept`,
    values: [
      ...[tenantId, email, emailKey, stream],
      ...(isErased ? [null, null] : [recipientId, messageId]),
      JSON.stringify(sender),
    ],
  })
  if (made.rows[0]) return { ...made.rows[0], isNew: true }
  // The row is locked by now: the conflict has found it.
  const present = await client.query<{ id: Uuid }>({
    name: 'keep-unsubscriber',
    text: `UPDATE valija.suppressions SET reason = CASE reason WHEN 'manual' THEN '${reason}' ELSE reason END
      WHERE tenant_id = $1 AND email_key = $2 AND stream = $3 RETURNING id`,
    values: [tenantId, emailKey, stream],
  })
  return { id: present.rows[0]!.id, isNew: false, isTold: false }
}

/**
 * @param isAgain whether to mark one that is marked already: it was subscribed again meanwhile
 * @returns the number of the event that tells of it; null when it is told already, or the recipient is forgotten
 */
async function markRecipient(
  client: pg.PoolClient,
  { tenantId, messageId, recipientId }: Unsubscriber,
  isAgain: boolean,
): Promise<number | null> {
  const { rows } = await client.query<{ seq: number }>({
    name: 'mark-unsubscriber',
    text: `UPDATE valija.recipients SET unsubscribed_at = now(), seq = seq + 1
      WHERE id = $1 AND message_id = $2 AND tenant_id = $3 AND (unsubscribed_at IS NULL OR $4) RETURNING seq`,
    values: [recipientId, messageId, tenantId, isAgain],
  })
  return rows[0]?.seq ?? null
}

async function write(client: pg.PoolClient, event: NewEvent): Promise<boolean> {
  const { rows } = await client.query<{ isTold: boolean }>({
    name: 'tell-unsubscribed',
    text: `WITH ${eventExpressions(1)} SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
    values: eventParameters([event]),
  })
  return rows[0]?.isTold ?? false
}
