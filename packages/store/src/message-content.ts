/** Whether what was said in a message is still kept, and if not, why and since when: for whoever reads it, so that nobody takes what is gone for empty. */
import { isEnd, lowestUuidAt, recipientStates, type Uuid } from '@valija/core'
import type pg from 'pg'
import { earliestIdOf } from './message-ids.ts'

/** The last four: it is gone, by an erasure, by the tenant's redact_after_days, because the mail was sensitive, or as content grows old. */
export const contentStates = ['kept', 'erased', 'redacted', 'sensitive', 'expired'] as const
export type ContentState = (typeof contentStates)[number]

export interface MessageContent {
  state: ContentState
  /** Null while it is kept, and where it is not on record. */
  since: Date | null
}

/** What a message's own row says of it. */
export interface ContentRow {
  id: Uuid
  expiresAt: Date
  isSensitive: boolean
  redactedAt: Date | null
  erasedAt: Date | null
}

/** A worker's clock and a settle that had to wait. */
const slackMs = 86_400_000
const ends = recipientStates.filter(isEnd).map((state) => `'message.${state}'`)

/**
 * Adds to messages whether their content is kept, by two statements, whatever the number of messages; the second only where a sensitive one is
 * without its body.
 *
 * @param client with the tenant's rights
 */
export async function withContents<Row extends ContentRow>(
  client: pg.PoolClient,
  tenantId: Uuid,
  rows: readonly Row[],
): Promise<(Row & { content: MessageContent })[]> {
  const ids = rows.map(({ id }) => id).sort()
  const [first, last] = [ids[0], ids.at(-1)]
  if (first === undefined || last === undefined) return []
  const { rows: bodies } = await client.query<{ id: Uuid }>({
    name: 'find-kept-bodies',
    text: `SELECT message_id AS id FROM valija.bodies
           WHERE tenant_id = $1 AND message_id = ANY ($2::uuid[]) AND message_id BETWEEN $3::uuid AND $4::uuid`,
    values: [tenantId, ids, first, last],
  })
  const kept = new Set(bodies.map(({ id }) => id))
  const dropped = rows.filter((row) => stateOf(row, kept.has(row.id)) === 'sensitive')
  const endedAt = await findLastEnds(client, tenantId, dropped)
  return rows.map((row) => {
    const state = stateOf(row, kept.has(row.id))
    const since = { erased: row.erasedAt, redacted: row.redactedAt, sensitive: endedAt.get(row.id) ?? null }
    return {
      ...row,
      content: { state, since: state === 'kept' || state === 'expired' ? null : since[state] },
    }
  })
}

function stateOf({ erasedAt, redactedAt, isSensitive }: ContentRow, isKept: boolean): ContentState {
  if (erasedAt !== null) return 'erased'
  if (redactedAt !== null) return 'redacted'
  if (isKept) return 'kept'
  return isSensitive ? 'sensitive' : 'expired'
}

/** When the last of their recipients came to its end: what is told of one afterwards, such as a late bounce, is no end of the mail. */
async function findLastEnds(
  client: pg.PoolClient,
  tenantId: Uuid,
  messages: readonly ContentRow[],
): Promise<ReadonlyMap<Uuid, Date>> {
  const ids = messages.map(({ id }) => id).sort()
  const [first] = ids
  if (first === undefined) return new Map()
  const latestMs = Math.max(...messages.map(({ expiresAt }) => expiresAt.getTime()))
  const { rows } = await client.query<{ id: Uuid; endedAt: Date }>(
    `SELECT id, max(first_end) AS "endedAt" FROM (
       SELECT message_id AS id, min(created_at) AS first_end FROM valija.events
       WHERE tenant_id = $1 AND message_id = ANY ($2::uuid[]) AND id > $3 AND id < $4 AND type IN (${ends.join(', ')})
       GROUP BY message_id, data ->> 'recipient_id') AS recipient
     GROUP BY id`,
    [tenantId, ids, earliestIdOf(first), lowestUuidAt(latestMs + slackMs)],
  )
  return new Map(rows.map(({ id, endedAt }) => [id, endedAt]))
}
