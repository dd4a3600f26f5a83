/**
 * Bodies of sensitive messages: gone in the transaction in which the last of their recipients ends.
 *
 * Two that end at a time each see the other one live. So the message's row is locked first, and recipients are looked at by a statement
 * that begins after that: whoever comes second sees what the first has committed.
 */
import { isEnd, lowestUuidAt, recipientStates, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'

/** Recipients are made in the same moment as their message. */
const recipientsWithinMs = 3_600_000

const liveStates = recipientStates
  .filter((state) => !isEnd(state))
  .map((state) => `'${state}'`)
  .join(', ')

/**
 * Drops the bodies of those of these messages that are sensitive and have nobody left to be sent to.
 *
 * @param client in a transaction that has written the ends; it locks messages after deliveries and recipients, as change-message.ts does
 */
export async function dropSensitiveBodies(client: pg.PoolClient, messageIds: readonly Uuid[]): Promise<void> {
  if (messageIds.length === 0) return
  const locked = await client.query<{ id: Uuid }>({
    name: 'lock-sensitive',
    text: 'SELECT id FROM valija.messages WHERE id = ANY ($1::uuid[]) AND is_sensitive ORDER BY id FOR UPDATE',
    values: [messageIds],
  })
  const ids = locked.rows.map(({ id }) => id)
  const [first, last] = [ids[0], ids.at(-1)]
  if (first === undefined || last === undefined) return
  await client.query({
    name: 'drop-sensitive-bodies',
    text: `DELETE FROM valija.bodies AS b
           WHERE b.message_id = ANY ($1::uuid[]) AND NOT EXISTS (
             SELECT FROM valija.recipients AS r
             WHERE r.message_id = b.message_id AND r.id BETWEEN $2::uuid AND $3::uuid AND r.status = ANY (ARRAY[${liveStates}]))`,
    values: [ids, first, lowestUuidAt(uuidTimeMs(last) + recipientsWithinMs)],
  })
}
