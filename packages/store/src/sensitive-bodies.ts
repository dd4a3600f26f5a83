/**
 * Bodies of sensitive messages: gone in the transaction in which the last of their recipients ends.
 *
 * Two that end at a time each see the other one live. So the message's row is locked first, and recipients are looked at by a statement
 * that begins after that: whoever comes second sees what the first has committed.
 *
 * Workers of the version before do not know of such bodies and leave them: `sensitive_messages` tells which are stored, and housekeeping drops
 * those whose recipients have ended.
 */
import { isEnd, lowestUuidAt, recipientStates, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { inTransaction } from './database.ts'

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
    text: `WITH ended AS MATERIALIZED (
             SELECT m.id FROM unnest($1::uuid[]) AS m (id) WHERE NOT EXISTS (
               SELECT FROM valija.recipients AS r
               WHERE r.message_id = m.id AND r.id BETWEEN $2::uuid AND $3::uuid AND r.status = ANY (ARRAY[${liveStates}]))
           ), told AS (
             DELETE FROM valija.sensitive_messages WHERE message_id = ANY (ARRAY(SELECT id FROM ended))
           )
           DELETE FROM valija.bodies WHERE message_id = ANY ($1::uuid[]) AND message_id = ANY (ARRAY(SELECT id FROM ended))`,
    values: [ids, first, lowestUuidAt(uuidTimeMs(last) + recipientsWithinMs)],
  })
}

/** Messages of one step. */
const sweptTogether = 500

/**
 * Drops the bodies of sensitive messages that nobody is to be sent any more and whose body was left, some hundreds at once.
 *
 * @returns how many messages it dealt with: ask until it is none
 */
export function sweepSensitiveBodies(pool: pg.Pool): Promise<number> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    const { rows } = await client.query<{ id: Uuid }>(
      `SELECT s.message_id AS id FROM valija.sensitive_messages AS s
       WHERE NOT EXISTS (SELECT FROM valija.deliveries AS d WHERE d.message_id = s.message_id)
       ORDER BY s.message_id LIMIT ${sweptTogether}`,
    )
    const ids = rows.map(({ id }) => id)
    await dropSensitiveBodies(client, ids)
    // What is gone with its day is not among those.
    await client.query(
      `DELETE FROM valija.sensitive_messages AS s WHERE s.message_id = ANY ($1::uuid[])
         AND NOT EXISTS (SELECT FROM valija.bodies AS b WHERE b.message_id = s.message_id AND b.message_id = ANY ($1::uuid[]))`,
      [ids],
    )
    const left = await client.query(
      'SELECT FROM valija.sensitive_messages WHERE message_id = ANY ($1::uuid[])',
      [ids],
    )
    return ids.length - (left.rowCount ?? 0)
  })
}
