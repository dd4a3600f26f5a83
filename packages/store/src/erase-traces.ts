/** What names a person besides mails: what was remembered of the mailbox, former entries of the suppression list and its events, counters. */
import { createAddressEraser, type Uuid, usageLimitNames, usageLimits } from '@valija/core'
import type pg from 'pg'
import { eraseAnswers } from './erase-mail-rows.ts'
import type { PendingErasure } from './erasures.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** The limits that count each address by itself. */
const limitsByAddress = usageLimitNames.filter((name) => usageLimits[name].counts === 'address')

/** Rows of one kind in one step. */
const rowsAtOnce = 500

/**
 * Entries of the suppression list stay, for the person is not to be written to: without the mail that led to them.
 *
 * @returns whether all is done
 */
export async function eraseTraces(client: pg.PoolClient, erasure: PendingErasure): Promise<boolean> {
  const { tenantId, emailKey } = erasure
  const values = [tenantId, emailKey]
  await client.query(
    `UPDATE valija.suppressions SET reply = NULL, recipient_id = NULL, message_id = NULL
     WHERE tenant_id = $1 AND email_key = $2 AND num_nonnulls(reply, recipient_id, message_id) > 0`,
    values,
  )
  await client.query(
    `DELETE FROM valija.usage WHERE email_key = $2 AND name = ANY ($3::text[])
       AND owner_id = ANY (ARRAY(SELECT $1::uuid UNION ALL SELECT id FROM valija.api_keys WHERE tenant_id = $1))`,
    [...values, limitsByAddress],
  )
  const counts = [
    await deleteSome(client, 'mailbox_faults', values),
    await deleteSome(client, 'suppression_removals', values),
    await eraseListEvents(client, erasure),
  ]
  return counts.every((count) => count < rowsAtOnce)
}

/**
 * What was counted under tags that name the person counts under the other name. Rare, and read through all that the tenant has counted since, so
 * once for each erasure.
 */
export async function renameCountedTags(
  client: pg.PoolClient,
  { tenantId, emailKey, placeholder, namedTags, namedSince }: PendingErasure,
): Promise<void> {
  if (namedTags.length === 0) return
  const eraser = createAddressEraser(emailKey, placeholder)
  await client.query({
    text: `WITH gone AS (
       DELETE FROM valija.tag_stats WHERE tenant_id = $1 AND span IN ('hour', 'day') AND tag = ANY ($2::text[])
         AND starts_at >= date_trunc('day', $4::timestamptz) - interval '1 day' RETURNING *
     )
     INSERT INTO valija.tag_stats AS s (tenant_id, span, starts_at, tag, outcome, reason, count)
     SELECT tenant_id, span, starts_at, renamed.tag, outcome, reason, sum(count)
     FROM gone JOIN unnest($2::text[], $3::text[]) AS renamed (before, tag) ON renamed.before = gone.tag GROUP BY 1, 2, 3, 4, 5, 6
     ON CONFLICT (tenant_id, span, starts_at, tag, outcome, reason) DO UPDATE SET count = s.count + excluded.count`,
    values: [tenantId, namedTags, namedTags.map((tag) => eraser.text(tag)), namedSince],
    ...answerWithin(longQueryTimeoutMs),
  })
}

async function deleteSome(
  client: pg.PoolClient,
  table: 'mailbox_faults' | 'suppression_removals',
  values: unknown[],
): Promise<number> {
  const { rowCount } = await client.query(
    `DELETE FROM valija.${table} WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM valija.${table} WHERE tenant_id = $1 AND email_key = $2 LIMIT ${rowsAtOnce}))`,
    values,
  )
  return rowCount ?? 0
}

/** Events that are about the address and no mail. */
async function eraseListEvents(
  client: pg.PoolClient,
  { id, tenantId, emailKey, placeholder }: PendingErasure,
): Promise<number> {
  const { rows } = await client.query<{ id: Uuid; data: Record<string, unknown> }>(
    `SELECT id, data FROM valija.events WHERE tenant_id = $1 AND lower(data ->> 'email') = $2 AND message_id IS NULL LIMIT ${rowsAtOnce}`,
    [tenantId, emailKey],
  )
  if (rows.length === 0) return 0
  const eraser = createAddressEraser(emailKey, placeholder)
  const ids = rows.map((row) => row.id)
  const sorted = [...ids].sort()
  await client.query(
    `UPDATE valija.events AS e SET data = input.data::jsonb FROM unnest($1::uuid[], $2::text[]) AS input (id, data)
     WHERE e.id = input.id AND e.id = ANY ($1::uuid[]) AND e.id BETWEEN $3::uuid AND $4::uuid`,
    [
      ids,
      rows.map(({ data: { reply: _, suppression_id: __, ...data } }) =>
        JSON.stringify(eraser.json({ ...data, email: placeholder })),
      ),
      sorted[0],
      sorted.at(-1),
    ],
  )
  await eraseAnswers(client, tenantId, ids)
  await client.query('UPDATE valija.erasures SET event_count = event_count + $2 WHERE id = $1', [
    id,
    ids.length,
  ])
  return ids.length
}
