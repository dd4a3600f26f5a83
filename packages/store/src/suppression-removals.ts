/**
 * Taking addresses off the suppression list: one by its id, or all that a provider's bad day put there. What was there stays
 * on record: when it went, how, and by which key. Whoever goes begins with a clean sheet: what its mailbox is remembered for is forgotten.
 */
import type { MailboxFault, RemovalHow, Uuid } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { eventExpressionsOf } from './new-events.ts'
import { suppressionEvents } from './suppressions.ts'

/** Who takes an address off the list, and how. */
export interface Remover {
  how: RemovalHow
  /** Null: the operator, or the owner of the address. */
  keyId: Uuid | null
}

const moved = `id, tenant_id, email, email_key, stream, reason, provider, recipient_id, message_id, reply, created_at`

/**
 * Removes what a query gives, and tells of what was in force.
 *
 * @param doomed gives the ids of entries
 * @param how and the other are parameters of the statement
 */
export const removalSql = (doomed: string, how: string, keyId: string) => `
WITH doomed AS MATERIALIZED (${doomed}), gone AS (
  DELETE FROM valija.suppressions AS s USING doomed WHERE s.id = doomed.id RETURNING s.*
), kept AS (
  INSERT INTO valija.suppression_removals (${moved}, removed_how, removed_by_key)
  SELECT ${moved}, ${how}, ${keyId} FROM gone
  ON CONFLICT (id) DO NOTHING
), forgotten AS (
  DELETE FROM valija.mailbox_faults AS f USING gone WHERE f.tenant_id = gone.tenant_id AND f.email_key = gone.email_key
), ${eventExpressionsOf(suppressionEvents('suppression.removed', 'SELECT * FROM gone WHERE quarantined_at IS NULL'))}
SELECT (SELECT count(*) FROM gone)::int AS count, EXISTS (SELECT FROM outbox) AS "isTold"`

export interface Removed {
  count: number
  isTold: boolean
}

/** @returns null when the tenant has none with this id */
export async function deleteSuppression(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  { how, keyId }: Remover,
): Promise<{ hasWebhooks: boolean } | null> {
  const { rows } = await asEngine(database, (client) =>
    client.query<Removed>({
      name: 'delete-suppression',
      text: removalSql(
        'SELECT id FROM valija.suppressions WHERE tenant_id = $1 AND id = $2 FOR UPDATE',
        '$3',
        '$4::uuid',
      ),
      values: [tenantId, id, how, keyId],
    }),
  )
  return rows[0]?.count === 1 ? { hasWebhooks: rows[0].isTold } : null
}

/** What a bad day put on the list. */
export interface UndoSearch {
  /** Who said so, or null: anybody; and the domain of the addresses, or null: any. */
  provider: string | null
  domain: string | null
  reasons: readonly MailboxFault[]
  after: Date
  before: Date
}

/** Entries in one commit: some 50 ms. */
export const undoRows = 1_000

/*
 * An entry's id has the time at which it was made, as its column does, but for the length of the transaction. The provider of
 * entries that an earlier version made is known from the fault that caused them, for as long as that is remembered.
 */
const searchSql = `
  FROM valija.suppressions AS s
  WHERE s.tenant_id = $1 AND s.id >= valija.lowest_uuid($2::timestamptz - interval '5 minutes')
    AND s.created_at >= $2 AND s.created_at < $3 AND s.reason = ANY ($4)
    AND ($5::text IS NULL OR s.provider = $5 OR (s.provider IS NULL AND EXISTS (
      SELECT FROM valija.mailbox_faults AS f WHERE f.recipient_id = s.recipient_id AND f.provider = $5)))
    AND ($6::text IS NULL OR split_part(s.email_key, '@', 2) = $6)`

const searchValues = (tenantId: Uuid, { after, before, reasons, provider, domain }: UndoSearch) => [
  tenantId,
  after,
  before,
  reasons,
  provider,
  domain,
]

export async function countUndoable(database: Database, tenantId: Uuid, search: UndoSearch): Promise<number> {
  const { rows } = await database.engine.query<{ count: number }>({
    name: 'count-undoable',
    text: `SELECT count(*)::int AS count ${searchSql}`,
    values: searchValues(tenantId, search),
  })
  return rows[0]?.count ?? 0
}

/** Removes up to `undoRows` of them: fewer are the last. */
export async function undoSuppressions(
  database: Database,
  tenantId: Uuid,
  search: UndoSearch,
  { how, keyId }: Remover,
): Promise<{ count: number; hasWebhooks: boolean }> {
  return asEngine(database, async (client: pg.PoolClient) => {
    const { rows } = await client.query<Removed>({
      name: 'undo-suppressions',
      text: removalSql(
        // By the keys' order, in which settle takes them.
        `SELECT s.id ${searchSql} ORDER BY s.email_key LIMIT ${undoRows} FOR UPDATE`,
        '$7',
        '$8::uuid',
      ),
      values: [...searchValues(tenantId, search), how, keyId],
    })
    return { count: rows[0]?.count ?? 0, hasWebhooks: rows[0]?.isTold ?? false }
  })
}

/** Forgets removals of long ago, some thousands at once. @returns how many */
export async function forgetRemovals(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.suppression_removals WHERE id = ANY (ARRAY(
       SELECT id FROM valija.suppression_removals WHERE removed_at < now() - make_interval(secs => $1) ORDER BY removed_at LIMIT 5000))`,
    [keptMs / 1000],
  )
  return result.rowCount ?? 0
}
