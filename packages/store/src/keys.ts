/**
 * API keys at rest. Only the SHA-256 of a key is stored (packages/core/src/api-key.ts).
 *
 * A revoked key's row stays, so that what it did can still be told, but nothing here finds it again: to programs a
 * revoked key is an unknown one.
 */
import type { Scope, SizeLimits, UsageLimits, Uuid } from '@valija/core'
import type pg from 'pg'
import { asTenant, type Database } from './database.ts'
import type { ApiKeyModel } from './generated/prisma/models/ApiKey.ts'

/** What a key may do; an empty list means "not bound". */
export interface KeyGrant {
  scopes: Scope[]
  /** Sender domains, lower-case A-labels. */
  domains: string[]
  /** CIDR blocks or single addresses that requests may come from. */
  networks: string[]
  route: string | null
  /** Addresses with the local part in lower case, or whole domains as `@example.test`. */
  recipients: string[]
  /** What it may use and send at most, beside its tenant's limits. */
  limits: KeyLimits
  expiresAt: Date | null
}

/** As jsonb has it. */
export type KeyLimits = UsageLimits & SizeLimits

export interface StoredKey extends KeyGrant {
  id: Uuid
  tenantId: Uuid
  name: string
  hint: string
  createdAt: Date
}

export interface NewStoredKey extends KeyGrant {
  id: Uuid
  tenantId: Uuid
  name: string
  hint: string
  hash: Buffer
}

/** A key as authentication needs it. */
export interface KeyCredential extends KeyGrant {
  id: Uuid
  tenantId: Uuid
  isDefaultTenant: boolean
  /** The tenant's own `limits.queued`. */
  queuedLimit: number | null
  tenantLimits: Record<string, unknown>
  /** The tenant is. */
  isSuspended: boolean
}

/** A page of a list: at most `limit` rows, those after the row with id `after` in the list's order. */
export interface Page {
  limit: number
  after: Uuid | null
}

/**
 * Looks a key up by its hash over all tenants: the one question that is asked before anybody knows the tenant.
 *
 * @returns null when it is unknown or revoked; an expired one is returned
 */
export async function findKeyByHash(engine: pg.Pool, hash: Buffer): Promise<KeyCredential | null> {
  const result = await engine.query<KeyCredential>({
    name: 'find-key-by-hash',
    text: `SELECT k.id, k.tenant_id AS "tenantId", k.scopes, k.domains, k.networks, k.route, k.recipients, k.limits,
                  k.expires_at AS "expiresAt", t.is_default AS "isDefaultTenant",
                  (t.limits->>'queued')::int AS "queuedLimit", t.limits AS "tenantLimits",
                  t.suspended_at IS NOT NULL AS "isSuspended"
             FROM valija.api_keys k JOIN valija.tenants t ON t.id = k.tenant_id
            WHERE k.hash = $1 AND k.revoked_at IS NULL`,
    values: [hash],
  })
  return result.rows[0] ?? null
}

/** Newest first. */
export async function listKeys(database: Database, tenantId: Uuid, page: Page): Promise<StoredKey[]> {
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.apiKey.findMany({
      where: { tenantId, revokedAt: null, ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredKey)
}

export async function findKey(database: Database, tenantId: Uuid, id: Uuid): Promise<StoredKey | null> {
  const row = await asTenant(database, tenantId, (prisma) =>
    prisma.apiKey.findFirst({ where: { id, tenantId, revokedAt: null } }),
  )
  return row && toStoredKey(row)
}

export async function insertKey(database: Database, key: NewStoredKey): Promise<StoredKey> {
  const data = { ...key, hash: new Uint8Array(key.hash) }
  const row = await asTenant(database, key.tenantId, (prisma) => prisma.apiKey.create({ data }))
  return toStoredKey(row)
}

/** What changed, with the hash that caches know the key by. */
export interface ChangedKey {
  key: StoredKey
  hash: Buffer
}

/**
 * Changes a key after `decide` has seen it, in one transaction with the row locked: of two changes at the same time the second
 * decides on what the first has written.
 *
 * @param decide gives what to write; what it throws undoes everything
 * @returns null when there is no such key
 */
export async function updateKey(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  decide: (present: StoredKey) => Partial<KeyGrant & { name: string }>,
): Promise<ChangedKey | null> {
  return asTenant(database, tenantId, async (prisma) => {
    await prisma.$queryRaw`SELECT FROM valija.api_keys WHERE id = ${id}::uuid AND tenant_id = ${tenantId}::uuid FOR UPDATE`
    const present = await prisma.apiKey.findFirst({ where: { id, tenantId, revokedAt: null } })
    if (present === null) return null
    const row = await prisma.apiKey.update({ where: { id, tenantId }, data: decide(toStoredKey(present)) })
    return { key: toStoredKey(row), hash: Buffer.from(row.hash) }
  })
}

/** @returns the key's hash, or null when there was nothing to revoke */
export async function revokeKey(database: Database, tenantId: Uuid, id: Uuid): Promise<Buffer | null> {
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.apiKey.updateManyAndReturn({
      where: { id, tenantId, revokedAt: null },
      data: { revokedAt: new Date() },
      select: { hash: true },
    }),
  )
  return rows[0] ? Buffer.from(rows[0].hash) : null
}

function toStoredKey(row: ApiKeyModel): StoredKey {
  const { id, tenantId, name, hint, domains, networks, route, recipients, expiresAt, createdAt } = row
  // Written through a schema that knows the scopes only.
  const scopes = row.scopes as Scope[]
  const limits = row.limits as KeyLimits
  return {
    id,
    tenantId,
    name,
    hint,
    scopes,
    domains,
    networks,
    route,
    recipients,
    limits,
    expiresAt,
    createdAt,
  }
}
