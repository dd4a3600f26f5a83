/**
 * A mail that went to others besides the person who is erased: the address goes out of its content once the others have their ends, or before any
 * of them was begun. In between the mail stays as it is, for what is tried again has to be the same, octet by octet (DESIGN 4.7).
 */
import { type AddressEraser, createAddressEraser, lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { eraseAttempts, eraseCopies, eraseEvents, eraseReplies } from './erase-mail-rows.ts'
import { noteErased, type PendingErasure } from './erasures.ts'
import { isUncertainSql } from './lease-deliveries.ts'
import { recipientsWithinMs } from './read-messages.ts'
import { redactBody } from './redact-mail.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** One of an erasure's open messages that has something to be done to it now. */
export interface ReadyMessage {
  id: Uuid
  /** Everybody has their end; else nobody was begun. */
  isEnded: boolean
}

/** Some at most, asked without locks: workers go on with all of them meanwhile. */
export function readyMessages(
  client: pg.PoolClient,
  { openMessageIds, changedMessageIds }: PendingErasure,
): Promise<ReadyMessage[]> {
  return readMessages(client, openMessageIds, changedMessageIds)
}

/**
 * Takes the address out of its content; of one that has ended, out of what was written of the others too, for that went on meanwhile. Its deliveries
 * are taken first, and those that somebody else has are not waited for: whoever leases skips them until the end of the transaction.
 *
 * @returns false when somebody else is at it: nothing was done
 */
export async function eraseOpenMessage(
  client: pg.PoolClient,
  { id, tenantId, emailKey, placeholder }: PendingErasure,
  { id: messageId }: ReadyMessage,
): Promise<boolean> {
  await client.query('SAVEPOINT free')
  const { rowCount: held } = await client.query(
    'SELECT FROM valija.deliveries WHERE message_id = $1 ORDER BY recipient_id FOR UPDATE SKIP LOCKED',
    [messageId],
  )
  // By a statement that begins with the locks in hand.
  const [ready] = await readMessages(client, [messageId], [])
  if (ready === undefined || ready.live !== held) {
    await client.query('ROLLBACK TO SAVEPOINT free')
    return false
  }
  const eraser = createAddressEraser(emailKey, placeholder)
  if (ready.isEnded) await eraseSince(client, id, { tenantId, messageId, eraser })
  const changed = await rewriteBody(client, messageId, (content) => redactBody(content, eraser))
  await eraseCopies(client, { tenantId, messageId })
  await client.query(
    `UPDATE valija.erasures SET open_message_ids = CASE WHEN $4 THEN array_remove(open_message_ids, $2) ELSE open_message_ids END,
       changed_message_ids = CASE WHEN $4 THEN array_remove(changed_message_ids, $2) ELSE changed_message_ids || $2::uuid END,
       body_count = body_count + $3 WHERE id = $1`,
    [id, messageId, changed, ready.isEnded],
  )
  return true
}

/** What was written of the others after the person was erased: by workers that had the mail as it was before, and in the words of their servers. */
async function eraseSince(
  client: pg.PoolClient,
  id: Uuid,
  { tenantId, messageId, eraser }: { tenantId: Uuid; messageId: Uuid; eraser: AddressEraser },
): Promise<void> {
  const mails = { tenantId, messageIds: [messageId], recipientIds: [], emptied: [], eraser }
  // Before the message, in settle's order.
  await eraseReplies(client, mails)
  const attempts = await eraseAttempts(client, mails)
  const { count: events, namedTags } = await eraseEvents(client, mails)
  await noteErased(client, id, { attempts, events, namedTags, sinceId: messageId })
}

const readAtOnce = 20

/** Those of them that have ended, or that nobody may have been sent yet (lease-deliveries.ts), these but for some. */
async function readMessages(
  client: pg.PoolClient,
  messageIds: readonly Uuid[],
  changedIds: readonly Uuid[],
): Promise<(ReadyMessage & { live: number })[]> {
  if (messageIds.length === 0) return []
  const { rows } = await client.query<ReadyMessage & { live: number }>(
    `SELECT m.id, live.count AS live, live.count = 0 AS "isEnded"
     FROM unnest($1::uuid[], $2::uuid[]) AS m (id, until)
     CROSS JOIN LATERAL (
       SELECT count(*)::int AS count, coalesce(bool_or(d.state = 'leased' OR ${isUncertainSql('d')}), false) AS is_begun
       FROM valija.deliveries AS d WHERE d.message_id = m.id) AS live
     WHERE live.count = 0 OR NOT live.is_begun AND m.id <> ALL ($3::uuid[]) AND NOT EXISTS (
       SELECT FROM valija.recipients AS r WHERE r.message_id = m.id AND r.id > m.id AND r.id < m.until AND r.attempts > 0)
     LIMIT ${readAtOnce}`,
    [messageIds, messageIds.map((id) => lowestUuidAt(uuidTimeMs(id) + recipientsWithinMs)), changedIds],
  )
  return rows
}

async function rewriteBody(
  client: pg.PoolClient,
  messageId: Uuid,
  change: (content: Buffer) => Buffer,
): Promise<number> {
  // Before the body is read: another erasure may be rewriting it.
  await client.query('SELECT FROM valija.messages WHERE id = $1 FOR UPDATE', [messageId])
  const { rows } = await client.query<{ content: Buffer }>({
    text: 'SELECT content FROM valija.bodies WHERE message_id = $1',
    values: [messageId],
    ...answerWithin(longQueryTimeoutMs),
  })
  if (rows[0] === undefined) return 0
  const content = change(rows[0].content)
  // It was changed before anybody had begun to send it.
  if (content.equals(rows[0].content)) return 0
  await client.query({
    text: 'UPDATE valija.bodies SET content = $2 WHERE message_id = $1',
    values: [messageId, content],
    ...answerWithin(longQueryTimeoutMs),
  })
  return 1
}
