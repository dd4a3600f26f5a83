/**
 * The audit log: who changed what of the management. Entries are written by triggers, in the transaction of the change (audited-request.ts), and read here.
 */
import { countOfUnwritten, lowestUuidAt, type Uuid } from '@valija/core'
import type pg from 'pg'
import type { AuditedRequest } from './audited-request.ts'
import { type Database, readAsTenant } from './database.ts'

/**
 * Writes an entry for a request that succeeded and changed no row that is watched: a test, a check, a change to what was so already.
 *
 * @param target its id as programs see it
 */
export async function noteRequest(
  database: Database,
  { tenantId, keyId, clientIp, requestId, action }: AuditedRequest,
  target: string | null,
): Promise<void> {
  await database.engine.query({
    name: 'note-request',
    text: `INSERT INTO valija.audit (id, tenant_id, created_at, key_id, client_ip, request_id, action, target, fields, count)
           SELECT valija.new_id(), $1::uuid, clock_timestamp(), $2::uuid, $3, $4, $5, $6, '{}', $7
           WHERE NOT EXISTS (SELECT FROM valija.audit WHERE request_id = $4)`,
    values: [tenantId, keyId, clientIp, requestId, action, target, countOfUnwritten(action)],
  })
}

export interface AuditEntry {
  id: Uuid
  tenantId: Uuid | null
  createdAt: Date
  keyId: Uuid | null
  /** Also of one that was revoked. */
  keyName: string | null
  clientIp: string
  requestId: string
  action: string
  target: string | null
  fields: string[]
  /** Of how many things it is; 0: it was done, and changed nothing. */
  count: number
}

export interface AuditSearch {
  action: string | null
  /** `operator`: what he did. */
  key: Uuid | 'operator' | null
  target: string | null
  afterMs: number | null
  beforeMs: number | null
  limit: number
  /** Only older ones. */
  olderThan: Uuid | null
}

/**
 * Newest first.
 *
 * @param tenantId null: of all tenants, and what is nobody's but the operator's
 */
export async function findAuditEntries(
  database: Database,
  tenantId: Uuid | null,
  search: AuditSearch,
): Promise<AuditEntry[]> {
  const { action, key, target, afterMs, beforeMs, limit, olderThan } = search
  const query = {
    name: tenantId === null ? 'find-all-audit' : 'find-audit',
    text: `SELECT a.id, a.tenant_id AS "tenantId", a.created_at AS "createdAt", a.key_id AS "keyId", k.name AS "keyName", a.client_ip AS "clientIp",
             a.request_id AS "requestId", a.action, a.target, a.fields, a.count
           FROM valija.audit AS a LEFT JOIN valija.api_keys AS k ON k.id = a.key_id
           WHERE ($1::uuid IS NULL OR a.tenant_id = $1) AND ($2::text IS NULL OR a.action = $2) AND ($3::uuid IS NULL OR a.key_id = $3)
             AND (NOT $4::boolean OR a.key_id IS NULL) AND ($5::text IS NULL OR a.target = $5)
             AND ($6::uuid IS NULL OR a.id >= $6) AND ($7::uuid IS NULL OR a.id < $7) AND ($8::uuid IS NULL OR a.id < $8)
           ORDER BY a.id DESC LIMIT $9`,
    values: [
      tenantId,
      action,
      key === 'operator' ? null : key,
      key === 'operator',
      target,
      afterMs === null ? null : lowestUuidAt(afterMs),
      beforeMs === null ? null : lowestUuidAt(beforeMs),
      olderThan,
      limit,
    ],
  }
  const read = (client: pg.Pool | pg.PoolClient) => client.query<AuditEntry>(query)
  const { rows } =
    tenantId === null ? await read(database.engine) : await readAsTenant(database, tenantId, read)
  return rows
}

/** Forgets entries beyond the retention of events, some thousands at once. */
export async function forgetOldAudit(pool: pg.Pool, keptMs: number): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.audit WHERE id = ANY (ARRAY(
       SELECT id FROM valija.audit WHERE id < valija.lowest_uuid(now() - make_interval(secs => $1)) ORDER BY id LIMIT 5000))`,
    [keptMs / 1000],
  )
  return result.rowCount ?? 0
}
