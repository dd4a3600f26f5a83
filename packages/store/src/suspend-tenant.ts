/**
 * Suspending a tenant and lifting it: one row each, however much is held. The dispatcher leaves out whoever is suspended, and a mail's time
 * is longer by every suspension that it met from its start on (valija.extended_until). A pause of its bulk mail alone is pause-bulk.ts.
 */
import type { Uuid } from '@valija/core'
import { type Database, inTransaction } from './database.ts'
import { holdBeginSql } from './hold-begin.ts'
import { eventExpressionsOf } from './new-events.ts'

/**
 * When a row's time is over, as an SQL expression.
 *
 * @param row a name of a row of `deliveries` or `messages`
 */
export function extendedSql(row: string, table: 'deliveries' | 'messages'): string {
  const [id, start] = table === 'deliveries' ? ['recipient_id', 'starts_at'] : ['id', 'send_at']
  return `CASE WHEN (SELECT t.was_suspended FROM valija.tenants AS t WHERE t.id = ${row}.tenant_id)
    THEN valija.extended_until(${row}.tenant_id, ${row}.${id}, ${row}.stream, ${row}.${start}, ${row}.expires_at) ELSE ${row}.expires_at END`
}

export interface SuspensionOutcome {
  /** False: it was as it should be already. */
  isChanged: boolean
  hasWebhooks: boolean
}

const suspendSql = `
WITH changed AS (
  UPDATE valija.tenants SET suspended_at = clock_timestamp(), was_suspended = true WHERE id = $1 AND suspended_at IS NULL
  RETURNING id, suspended_at
), begun AS (
  INSERT INTO valija.tenant_suspensions (tenant_id, began_at) SELECT id, ${holdBeginSql('changed.id', 'suspended_at')} FROM changed
), readmitted AS (
  UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL
  WHERE d.recipient_id = ANY (ARRAY(
    SELECT recipient_id FROM valija.deliveries WHERE tenant_id = $1 AND state = 'admitted' ORDER BY recipient_id FOR UPDATE SKIP LOCKED))
), ${eventExpressionsOf(`SELECT id AS tenant_id, 'tenant.paused' AS type, jsonb_build_object('reason', 'suspended') AS data FROM changed`)}
SELECT EXISTS (SELECT FROM changed) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`

const resumeSql = `
WITH changed AS (
  UPDATE valija.tenants SET suspended_at = NULL WHERE id = $1 AND suspended_at IS NOT NULL RETURNING id
), ended AS (
  UPDATE valija.tenant_suspensions SET ended_at = clock_timestamp() WHERE tenant_id = (SELECT id FROM changed) AND ended_at IS NULL AND stream IS NULL
  RETURNING tenant_id, ended_at - began_at AS held_for
), ${eventExpressionsOf(`SELECT tenant_id, 'tenant.resumed' AS type,
    jsonb_build_object('suspended_seconds', greatest(0, floor(extract(epoch FROM held_for)))) AS data FROM ended`)}
SELECT EXISTS (SELECT FROM changed) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`

/** Done twice, it is done once, and told once. What was admitted waits again: no worker takes it any more. */
export async function setSuspended(
  database: Database,
  tenantId: Uuid,
  isSuspended: boolean,
): Promise<SuspensionOutcome> {
  return inTransaction(database.engine, 'BEGIN', async (client) => {
    const { rows } = await client.query<SuspensionOutcome>(isSuspended ? suspendSql : resumeSql, [tenantId])
    return rows[0]!
  })
}

/** Suspended tenants of whose mail workers have some in hand. Nobody but they can give it back, so they are asked again. */
export async function findHeldInHand(database: Database): Promise<Uuid[]> {
  const { rows } = await database.engine.query<{ id: Uuid }>({
    name: 'held-in-hand',
    text: `SELECT t.id FROM valija.tenants AS t WHERE t.suspended_at IS NOT NULL
             AND EXISTS (SELECT FROM valija.deliveries AS d WHERE d.tenant_id = t.id AND d.state = 'leased')`,
  })
  return rows.map(({ id }) => id)
}
