/**
 * Holding a tenant's bulk mail while its other mail goes on, and letting it go: one row each, however much is held. The dispatcher leaves it
 * out, accept admits none of it, and its time is longer by every pause that it met (valija.extended_until).
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'
import { holdBeginSql } from './hold-begin.ts'
import { eventExpressionsOf } from './new-events.ts'

/** Why it is held, as the event and GET /tenants tell it. */
export interface BulkPause {
  /** `operator`, or the rate that is too high. */
  reason: 'operator' | 'bounce_rate' | 'complaint_rate'
  rate?: number
  limit?: number
  count?: number
  volume?: number
  hours?: number
}

export interface PauseOutcome {
  /** False: it was as it should be already. */
  isChanged: boolean
  hasWebhooks: boolean
}

const pauseSql = `
WITH changed AS (
  UPDATE valija.tenants SET bulk_paused_at = clock_timestamp(), bulk_pause = $2::jsonb, was_suspended = true
  WHERE id = $1 AND bulk_paused_at IS NULL
  RETURNING id, bulk_paused_at
), begun AS (
  INSERT INTO valija.tenant_suspensions (tenant_id, began_at, stream) SELECT id, ${holdBeginSql('changed.id', 'bulk_paused_at')}, 'bulk' FROM changed
), readmitted AS (
  UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL
  WHERE d.recipient_id = ANY (ARRAY(
    SELECT recipient_id FROM valija.deliveries
    WHERE tenant_id = (SELECT id FROM changed) AND state = 'admitted' AND stream = 'bulk' ORDER BY recipient_id FOR UPDATE SKIP LOCKED))
), ${eventExpressionsOf(`SELECT id AS tenant_id, 'tenant.paused' AS type, $2::jsonb || $3::jsonb || '{"stream": "bulk"}' AS data FROM changed`)}
SELECT EXISTS (SELECT FROM changed) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`

const resumeSql = `
WITH changed AS (
  UPDATE valija.tenants SET bulk_paused_at = NULL, bulk_pause = NULL, bulk_resumed_at = clock_timestamp()
  WHERE id = $1 AND bulk_paused_at IS NOT NULL
  RETURNING id
), ended AS (
  UPDATE valija.tenant_suspensions SET ended_at = clock_timestamp()
  WHERE tenant_id = (SELECT id FROM changed) AND ended_at IS NULL AND stream = 'bulk'
  RETURNING tenant_id, ended_at - began_at AS held_for
), ${eventExpressionsOf(`SELECT tenant_id, 'tenant.resumed' AS type,
    jsonb_build_object('stream', 'bulk', 'paused_seconds', greatest(0, floor(extract(epoch FROM held_for)))) AS data FROM ended`)}
SELECT EXISTS (SELECT FROM changed) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`

/**
 * Holds it. What workers have in hand already goes out. Done twice, it is done once, and told once.
 *
 * @param words what the event says of it besides
 */
export async function pauseBulk(
  client: pg.Pool | pg.PoolClient,
  tenantId: Uuid,
  pause: BulkPause,
  words: { explanation: string; remedy: string },
): Promise<PauseOutcome> {
  const { rows } = await client.query<PauseOutcome>(pauseSql, [
    tenantId,
    JSON.stringify(pause),
    JSON.stringify(words),
  ])
  return rows[0]!
}

/** Lets it go; what is due goes at once. */
export async function resumeBulk(client: pg.Pool | pg.PoolClient, tenantId: Uuid): Promise<PauseOutcome> {
  const { rows } = await client.query<PauseOutcome>(resumeSql, [tenantId])
  return rows[0]!
}
