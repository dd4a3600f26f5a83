/**
 * A mail that went to others besides the person who is erased: the address goes out of its content once the others have their ends, or before any
 * of them was begun. In between the mail stays as it is, for what is tried again has to be the same, octet by octet (DESIGN 4.7).
 */
import { createAddressEraser, lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { redactInbox } from './erase-mail-rows.ts'
import type { PendingErasure } from './erasures.ts'
import { recipientsWithinMs } from './read-messages.ts'
import { redactBody } from './redact-mail.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** @returns whether it is done with; else others are still to be sent it */
export async function eraseOpenMessage(
  client: pg.PoolClient,
  { id, tenantId, emailKey, placeholder }: PendingErasure,
  messageId: Uuid,
): Promise<boolean> {
  if (!(await mayChange(client, messageId))) return false
  const eraser = createAddressEraser(emailKey, placeholder)
  const changed = await rewriteBody(client, messageId, (content) => redactBody(content, eraser))
  await redactInbox(client, { tenantId, messageId, eraser })
  await client.query(
    'UPDATE valija.erasures SET open_message_ids = array_remove(open_message_ids, $2), body_count = body_count + $3 WHERE id = $1',
    [id, messageId, changed],
  )
  return true
}

/** With the deliveries locked, in everybody's order: whoever leases skips them meanwhile. */
async function mayChange(client: pg.PoolClient, messageId: Uuid): Promise<boolean> {
  const { rows: live } = await client.query<{ state: string }>(
    'SELECT state FROM valija.deliveries WHERE message_id = $1 ORDER BY recipient_id FOR UPDATE',
    [messageId],
  )
  if (live.length === 0) return true
  if (live.some(({ state }) => state === 'leased')) return false
  const { rows } = await client.query<{ isBegun: boolean }>(
    `SELECT EXISTS (SELECT FROM valija.recipients WHERE message_id = $1 AND id > $1 AND id < $2 AND attempts > 0) AS "isBegun"`,
    [messageId, lowestUuidAt(uuidTimeMs(messageId) + recipientsWithinMs)],
  )
  return rows[0]?.isBegun === false
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
  await client.query({
    text: 'UPDATE valija.bodies SET content = $2 WHERE message_id = $1',
    values: [messageId, change(rows[0].content)],
    ...answerWithin(longQueryTimeoutMs),
  })
  return 1
}
