/**
 * Tenants: the operator's table. Read and written with the engine's rights, because the operator works for all of them.
 */
import type { AlarmLimits, SizeLimits, UsageLimits, Uuid } from '@valija/core'
import type pg from 'pg'
import { asEngine, asOperator, type Database } from './database.ts'
import type { TenantModel } from './generated/prisma/models/Tenant.ts'
import { holdBeginSql } from './hold-begin.ts'
import type { NewStoredKey, Page } from './keys.ts'
import type { BulkPause } from './pause-bulk.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

export interface StoredTenant {
  id: Uuid
  name: string
  /** Share of the dispatcher's turns against other tenants, 1 to 1000. */
  weight: number
  limits: Record<string, unknown>
  isDefault: boolean
  /** What may have arrived is not sent again. */
  atMostOnce: boolean
  /** Since when it is suspended; null: it is not. */
  suspendedAt: Date | null
  /** Since when its bulk mail is held; null: it is not. */
  bulkPausedAt: Date | null
  bulkPause: BulkPause | null
  /** After so many days its mail is deleted, and before that its content (tenant-retention.ts); null: as the installation says. */
  retentionDays: number | null
  redactAfterDays: number | null
  createdAt: Date
}

/** What acting for a tenant needs to know. */
export interface TenantToActFor {
  isDefaultTenant: boolean
  queuedLimit: number | null
  limits: Record<string, unknown>
  isSuspended: boolean
}

/** Whether the tenant exists, and what acting for it needs to know. */
export async function findTenantToActFor(engine: pg.Pool, id: Uuid): Promise<TenantToActFor | null> {
  const result = await engine.query<TenantToActFor>({
    name: 'find-tenant-to-act-for',
    text: `SELECT is_default AS "isDefaultTenant", (limits->>'queued')::int AS "queuedLimit", limits, suspended_at IS NOT NULL AS "isSuspended" FROM valija.tenants WHERE id = $1`,
    values: [id],
  })
  return result.rows[0] ?? null
}

/** Oldest first, and the default tenant before all others. */
export async function listTenants(database: Database, page: Page): Promise<StoredTenant[]> {
  const { after } = page
  const last =
    after === null
      ? null
      : await database.operators.tenant.findUnique({ where: { id: after }, select: { isDefault: true } })
  const where = {
    ...(after !== null && { isDefault: false }),
    // Behind the default tenant, which stands first whatever its age, come all others.
    ...(after !== null && !last?.isDefault && { id: { gt: after } }),
  }
  const rows = await database.operators.tenant.findMany({
    where,
    orderBy: [{ isDefault: 'desc' }, { id: 'asc' }],
    take: page.limit,
  })
  return rows.map(toStoredTenant)
}

export async function findTenant(database: Database, id: Uuid): Promise<StoredTenant | null> {
  const row = await database.operators.tenant.findUnique({ where: { id } })
  return row && toStoredTenant(row)
}

export async function findTenantNamed(database: Database, name: string): Promise<Uuid | null> {
  const row = await database.operators.tenant.findUnique({ where: { name }, select: { id: true } })
  return row?.id ?? null
}

/** The tenant that `npm start` made; null before its first start and wherever it is not used. */
export async function findDefaultTenant(database: Database): Promise<Uuid | null> {
  const row = await database.operators.tenant.findFirst({ where: { isDefault: true }, select: { id: true } })
  return row?.id ?? null
}

/** What a tenant may do at most; what is absent is as for any tenant. */
export type TenantLimits = UsageLimits &
  SizeLimits & {
    /** Recipients that wait at the same time. */
    queued?: number
    /** When its rates are worth an alarm. */
    alarms?: Partial<AlarmLimits>
  }

export interface NewTenant {
  id: Uuid
  name: string
  weight: number
  limits: TenantLimits
  isDefault: boolean
  atMostOnce?: boolean
  retentionDays?: number | null
  redactAfterDays?: number | null
}

/**
 * Writes a tenant and its first key, both or neither.
 *
 * @returns null when the name is taken
 */
export async function insertTenant(
  database: Database,
  tenant: NewTenant,
  key: NewStoredKey,
): Promise<StoredTenant | null> {
  const data = {
    ...tenant,
    apiKeys: {
      create: {
        id: key.id,
        name: key.name,
        hash: new Uint8Array(key.hash),
        hint: key.hint,
        scopes: key.scopes,
      },
    },
  }
  try {
    return toStoredTenant(await asOperator(database, (prisma) => prisma.tenant.create({ data })))
  } catch (error) {
    if (isUniqueViolation(error)) return null
    throw error
  }
}

export interface TenantChanges {
  name?: string
  weight?: number
  limits?: TenantLimits
  atMostOnce?: boolean
  retentionDays?: number | null
  redactAfterDays?: number | null
}

/**
 * Changes a tenant after `decide` has seen it, in one transaction with the row locked: of two changes at the same time the second
 * decides on what the first has written.
 *
 * @returns null when there is no such tenant, `name_taken` when another one has that name
 */
export async function updateTenant(
  database: Database,
  id: Uuid,
  decide: (present: StoredTenant) => TenantChanges,
): Promise<StoredTenant | 'name_taken' | null> {
  try {
    return await asOperator(database, async (prisma) => {
      await prisma.$queryRaw`SELECT FROM valija.tenants WHERE id = ${id}::uuid FOR NO KEY UPDATE`
      const present = await prisma.tenant.findUnique({ where: { id } })
      if (present === null) return null
      const data = decide(toStoredTenant(present))
      return toStoredTenant(await prisma.tenant.update({ where: { id }, data }))
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'name_taken'
    throw error
  }
}

export type TenantDeletion = 'deleted' | 'unknown' | 'default' | { live: number }

const statsTables = ['stats', 'tag_stats', 'latency_stats', 'stats_names']
/** What of a tenant can be much, and does not go with its row; no day of the partitioned tables, which retention drops. */
const ownTables = [
  'inbox',
  'idempotency_keys',
  'suppressions',
  'suppression_removals',
  'mailbox_faults',
  'usage',
  'message_digests',
  'webhook_outbox',
  ...statsTables,
]
/** Where a table has no index by tenant: its rows, found by one that it has. */
const ownRowsOf: Readonly<Record<string, string>> = {
  webhook_outbox: 'webhook_id = ANY (ARRAY(SELECT id FROM valija.webhooks WHERE tenant_id = $1))',
}
/** Rows of one transaction: a long one would keep readers of events waiting, of all tenants. */
const rowsAtOnce = 5_000

/**
 * Removes a tenant with its keys, domains, webhooks, suppressions (those of the past as well), statistics, inbox and idempotency rows. Its messages
 * and events stay until retention drops their partitions: nobody can read them any more.
 *
 * Piece by piece: from the first on nothing is accepted for it, and when a piece fails the same call goes on where that one stopped.
 *
 * @returns `live`, and nothing is changed, while recipients of it are not at their end: a 202 is a promise
 */
export async function deleteTenant(database: Database, id: Uuid): Promise<TenantDeletion> {
  const refusal = await asEngine(database, (client) => closeTenant(client, id))
  if (refusal !== null) return refusal
  for (const table of ownTables) {
    let deleted = rowsAtOnce
    while (deleted === rowsAtOnce) {
      const rows = ownRowsOf[table] ?? 'tenant_id = $1'
      const result = await ask(
        database.engine,
        `DELETE FROM valija.${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM valija.${table} WHERE ${rows} LIMIT ${rowsAtOnce}))`,
        id,
      )
      deleted = result.rowCount ?? 0
    }
  }
  return asEngine(database, (client) => deleteRest(client, id))
}

/** A statement about a tenant, which may have much. */
function ask<Row extends pg.QueryResultRow>(
  client: pg.Pool | pg.PoolClient,
  text: string,
  id: Uuid,
): Promise<pg.QueryResult<Row>> {
  return client.query<Row>({ text, values: [id], ...answerWithin(longQueryTimeoutMs) })
}

/** The tenant's own row with all that goes with it, and what was counted of it meanwhile. */
async function deleteRest(client: pg.PoolClient, id: Uuid): Promise<TenantDeletion> {
  // Whoever counts its events this moment has ended before, or finds it gone (count-events.ts).
  await client.query('SELECT FROM valija.tenants WHERE id = $1 FOR UPDATE', [id])
  for (const table of ['stats_cursors', ...statsTables])
    await ask(client, `DELETE FROM valija.${table} WHERE tenant_id = $1`, id)
  const { rowCount } = await ask(client, 'DELETE FROM valija.tenants WHERE id = $1', id)
  return rowCount === 0 ? 'unknown' : 'deleted'
}

/** Has nothing more accepted for it, unless it cannot be deleted. */
async function closeTenant(
  client: pg.PoolClient,
  id: Uuid,
): Promise<Exclude<TenantDeletion, 'deleted'> | null> {
  const found = await client.query<{ is_default: boolean }>(
    'SELECT is_default FROM valija.tenants WHERE id = $1 FOR UPDATE',
    [id],
  )
  if (found.rows[0] === undefined) return 'unknown'
  if (found.rows[0].is_default) return 'default'
  const live = await ask<{ count: number }>(
    client,
    'SELECT count(*) AS count FROM valija.deliveries WHERE tenant_id = $1',
    id,
  )
  const count = live.rows[0]?.count ?? 0
  // A request that is being accepted this moment may add more: they are delivered all the same, only nobody reads of it.
  if (count > 0) return { live: count }
  // As any suspension (suspend-tenant.ts), which is lifted as any if the deletion is not gone on with; told to nobody, since nobody is to stay.
  await client.query(
    `WITH changed AS (
       UPDATE valija.tenants SET suspended_at = clock_timestamp(), was_suspended = true WHERE id = $1 AND suspended_at IS NULL
       RETURNING id, suspended_at
     ) INSERT INTO valija.tenant_suspensions (tenant_id, began_at) SELECT id, ${holdBeginSql('changed.id', 'suspended_at')} FROM changed`,
    [id],
  )
  return null
}

/** Prisma's P2002: a unique index refused the row. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'P2002'
}

function toStoredTenant(row: TenantModel): StoredTenant {
  // Written as objects only (routes/tenants, pause-bulk.ts).
  return {
    ...row,
    limits: row.limits as Record<string, unknown>,
    bulkPause: row.bulkPause as BulkPause | null,
  }
}
