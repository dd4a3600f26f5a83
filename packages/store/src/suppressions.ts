/**
 * The suppression list: addresses that a tenant's mail is not sent to any more, for one stream or for both.
 *
 * It is asked twice for every recipient. At accept, in the statement that writes the message (accept-messages.ts), so that the 202
 * says so; an entry that is committed after that statement began is not seen. At lease (lease-deliveries.ts), which always comes
 * after that commit and sees every entry that was committed before it: whatever slipped through, and all that waited, ends there.
 *
 * Mailboxes get on it by settle (suppress-mailboxes.ts), whole lists by suppression-lists.ts, and who goes by suppression-removals.ts. A change and its event are one statement. Tenants read with their own
 * rights; what writes events is the engine, so writes are its too.
 */
import {
  idPrefixes,
  type RemovalHow,
  type Stream,
  type SuppressionReason,
  type SuppressionStatus,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database, readAsTenant } from './database.ts'
import type { Page } from './keys.ts'
import { eventExpressionsOf } from './new-events.ts'

export interface StoredSuppression {
  id: Uuid
  email: string
  /** The stream that it stops; null: both. */
  stream: Stream | null
  reason: SuppressionReason
  /** Since when it is held back and stops nothing; null while it is in force. */
  quarantinedAt: Date | null
  /** The message that caused it, and what the server said; null where a person did. */
  messageId: Uuid | null
  reply: string | null
  createdAt: Date
  /** Whose server said so; null where a person did. */
  provider: string | null
  /** When it was taken off the list, how, and by which key; null while it is on it. */
  removedAt: Date | null
  removedHow: RemovalHow | null
  removedByKey: Uuid | null
}

/** What keeps a mail from a recipient. */
export interface SuppressionHit {
  id: Uuid
  reason: SuppressionReason
}

/**
 * The entry that stops mail to an address: one look-up in `suppressions_address_key`, which has them in this order, so that no
 * planner takes another way.
 *
 * @param tenantId and the others are SQL expressions
 */
export const hitSql = (tenantId: string, emailKey: string, stream: string) => `
  SELECT s.id, s.reason FROM valija.suppressions AS s
  WHERE s.tenant_id = ${tenantId} AND s.email_key = ${emailKey} AND (s.stream IS NULL OR s.stream = ${stream})
    AND s.quarantined_at IS NULL
  ORDER BY s.stream LIMIT 1`

/** The same as a JSON object, null without one, for a statement that has a row `leased` and a recipient `r`. */
export const leasedHitSql = `
  (SELECT json_build_object('id', hit.id, 'reason', hit.reason) FROM (${hitSql('r.tenant_id', 'r.email_key', 'leased.stream')}) AS hit
   WHERE leased.simulation IS NULL)`

/** Which of these addresses a mail of that stream would not be sent to now, by their key. */
export async function findSuppressionHits(
  engine: pg.Pool,
  tenantId: Uuid,
  stream: Stream,
  emailKeys: readonly string[],
): Promise<Map<string, SuppressionReason>> {
  const { rows } = await engine.query<{ emailKey: string; reason: SuppressionReason }>({
    name: 'find-suppression-hits',
    text: `
SELECT input.email_key AS "emailKey", hit.reason
FROM unnest($3::text[]) AS input (email_key) CROSS JOIN LATERAL (${hitSql('$1', 'input.email_key', '$2')}) AS hit`,
    values: [tenantId, stream, emailKeys],
  })
  return new Map(rows.map(({ emailKey, reason }) => [emailKey, reason]))
}

export interface SuppressionSearch {
  emailKey?: string
  reason?: SuppressionReason
  status?: SuppressionStatus
  /** Those that hold for this stream, those for both among them. */
  stream?: Stream
}

/** Newest first. */
export async function listSuppressions(
  database: Database,
  tenantId: Uuid,
  search: SuppressionSearch,
  page: Page,
): Promise<StoredSuppression[]> {
  const values: unknown[] = [tenantId]
  const conditions = ['tenant_id = $1']
  const where = (condition: (parameter: string) => string, value: unknown) => {
    if (value !== undefined && value !== null) conditions.push(condition(`$${values.push(value)}`))
  }
  where((at) => `id < ${at}`, page.after)
  where((at) => `email_key = ${at}`, search.emailKey)
  where((at) => `reason = ${at}`, search.reason)
  where((at) => `(stream IS NULL OR stream = ${at})`, search.stream)
  if (search.status === 'active') conditions.push('quarantined_at IS NULL')
  if (search.status === 'quarantined') conditions.push('quarantined_at IS NOT NULL')
  const isRemoved = search.status === 'removed'
  const from = isRemoved ? 'valija.suppression_removals' : 'valija.suppressions'
  const text = `SELECT ${isRemoved ? removedColumns : columns} FROM ${from} WHERE ${conditions.join(' AND ')}
    ORDER BY id DESC LIMIT $${values.push(page.limit)}`
  return readAsTenant(
    database,
    tenantId,
    async (client) => (await client.query<StoredSuppression>(text, values)).rows,
  )
}

export async function findSuppression(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<StoredSuppression | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const text = `SELECT ${columns} FROM valija.suppressions WHERE tenant_id = $1 AND id = $2`
    const result = await client.query<StoredSuppression>({
      name: 'find-suppression',
      text,
      values: [tenantId, id],
    })
    return result.rows[0] ?? null
  })
}

/** What was written, and whether webhooks have something to be told. */
export interface SuppressionChange {
  suppression: StoredSuppression
  hasWebhooks: boolean
}

export interface NewSuppression {
  id: Uuid
  tenantId: Uuid
  email: string
  emailKey: string
  stream: Stream | null
}

/**
 * Suppresses an address on somebody's word. One that is suppressed for this stream already stays as it is; one that is
 * quarantined comes into force.
 */
export async function insertSuppression(
  database: Database,
  { id, tenantId, email, emailKey, stream }: NewSuppression,
): Promise<SuppressionChange> {
  return asEngine(database, async (client) => {
    for (;;) {
      const written = await client.query<StoredSuppression & { isTold: boolean }>({
        name: 'insert-suppression',
        text: `
WITH kept AS (
  INSERT INTO valija.suppressions AS s (id, tenant_id, email, email_key, stream, reason)
  VALUES ($1, $2, $3, $4, $5, 'manual')
  ON CONFLICT (tenant_id, email_key, stream) DO UPDATE SET reason = excluded.reason, quarantined_at = NULL
    WHERE s.quarantined_at IS NOT NULL
  RETURNING *
), ${eventExpressionsOf(suppressionEvents('suppression.added', 'SELECT * FROM kept'))}
SELECT ${columns}, EXISTS (SELECT FROM outbox) AS "isTold" FROM kept`,
        values: [id, tenantId, email, emailKey, stream],
      })
      const row = written.rows[0]
      if (row) return toChange(row)
      // It was there: read by a new statement, which sees what the first one met. Gone by now, it is made after all.
      const present = await client.query<StoredSuppression>(
        `SELECT ${columns} FROM valija.suppressions WHERE tenant_id = $1 AND email_key = $2 AND stream IS NOT DISTINCT FROM $3`,
        [tenantId, emailKey, stream],
      )
      if (present.rows[0]) return { suppression: present.rows[0], hasWebhooks: false }
    }
  })
}

export interface SuppressionUpdate {
  /** Puts a quarantined one in force. */
  status?: 'active'
  stream?: Stream | null
}

/**
 * Changes an entry. Another stream is told as one entry removed and one added.
 *
 * @returns null when the tenant has none with this id, `doubled` when the address has an entry for that stream
 */
export async function updateSuppression(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  update: SuppressionUpdate,
): Promise<SuppressionChange | 'doubled' | null> {
  const work = async (client: pg.PoolClient) => {
    const found = await client.query<StoredSuppression>(
      `SELECT ${columns} FROM valija.suppressions WHERE tenant_id = $1 AND id = $2 FOR UPDATE`,
      [tenantId, id],
    )
    const present = found.rows[0]
    if (present === undefined) return null
    const stream = update.stream === undefined ? present.stream : update.stream
    const isMoved = stream !== present.stream
    const wasActive = present.quarantinedAt === null
    const isActive = wasActive || update.status === 'active'
    const isRemovalTold = wasActive && isMoved && (await tell(client, tenantId, id, 'suppression.removed'))
    const changed = await client.query<StoredSuppression>(
      `UPDATE valija.suppressions SET stream = $3, quarantined_at = CASE WHEN $4 THEN NULL ELSE quarantined_at END
       WHERE tenant_id = $1 AND id = $2 RETURNING ${columns}`,
      [tenantId, id, stream, isActive],
    )
    const isAdded = isActive && (isMoved || !wasActive)
    const isAdditionTold = isAdded && (await tell(client, tenantId, id, 'suppression.added'))
    return { suppression: changed.rows[0]!, hasWebhooks: isRemovalTold || isAdditionTold }
  }
  try {
    return await asEngine(database, work)
  } catch (error) {
    // PostgreSQL's unique_violation.
    if ((error as { code?: unknown }).code === '23505') return 'doubled'
    throw error
  }
}

/** Writes an event about a stored entry. @returns whether webhooks are to be told */
async function tell(
  client: pg.PoolClient,
  tenantId: Uuid,
  id: Uuid,
  type: SuppressionEventType,
): Promise<boolean> {
  const stored = 'SELECT * FROM valija.suppressions WHERE tenant_id = $1 AND id = $2'
  const result = await client.query(
    `WITH ${eventExpressionsOf(suppressionEvents(type, stored))} SELECT FROM outbox`,
    [tenantId, id],
  )
  return result.rowCount !== 0
}

export type SuppressionEventType = 'suppression.added' | 'suppression.removed'

const shownId = (kind: keyof typeof idPrefixes, column: string) =>
  `'${idPrefixes[kind]}_' || replace(${column}::text, '-', '')`

/**
 * A query of the events about the entries that another one gives. They tell what is in force: one that is quarantined was not
 * added, and is not removed.
 *
 * @param more a jsonb expression over the rows `s`, for what else is known
 */
export function suppressionEvents(type: SuppressionEventType, entries: string, more = `'{}'::jsonb`): string {
  return `
    SELECT s.tenant_id, '${type}' AS type, jsonb_build_object('suppression_id', ${shownId('suppression', 's.id')},
      'email', s.email, 'stream', s.stream, 'reason', s.reason)
      || jsonb_strip_nulls(jsonb_build_object('message_id', ${shownId('message', 's.message_id')},
        'recipient_id', ${shownId('recipient', 's.recipient_id')}, 'reply', s.reply))
      || ${more} AS data
    FROM (${entries}) AS s`
}

const entryColumns = `id, email, stream, reason, message_id AS "messageId", reply, created_at AS "createdAt", provider`
const columns = `${entryColumns}, quarantined_at AS "quarantinedAt", NULL::timestamptz AS "removedAt", NULL AS "removedHow", NULL::uuid AS "removedByKey"`
const removedColumns = `${entryColumns}, NULL::timestamptz AS "quarantinedAt", removed_at AS "removedAt", removed_how AS "removedHow", removed_by_key AS "removedByKey"`

function toChange({ isTold, ...suppression }: StoredSuppression & { isTold: boolean }): SuppressionChange {
  return { suppression, hasWebhooks: isTold }
}
