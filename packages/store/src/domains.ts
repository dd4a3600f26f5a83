/**
 * Sender domains. A name is held once per tenant, pending in any number of tenants, and verified in one: whoever makes a
 * domain verified does so under a lock on its name.
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'
import { asTenant, type Database } from './database.ts'
import type { TransactionClient } from './generated/prisma/internal/prismaNamespace.ts'
import type { DomainModel } from './generated/prisma/models/Domain.ts'
import type { Page } from './keys.ts'
import { isUniqueViolation } from './tenants.ts'

export type DomainStatus = 'pending' | 'verified' | 'failed'

export interface StoredDomain {
  id: Uuid
  tenantId: Uuid
  /** Lower-case A-labels. */
  name: string
  status: DomainStatus
  /** The operator stands in for it: no DNS is asked. */
  isVouched: boolean
  signsDkim: boolean
  /** What the tenant publishes to show that the name is its own. */
  token: string
  createdAt: Date
}

export type NewDomain = Omit<StoredDomain, 'createdAt'>

/**
 * Whose verified domains among these names there are, over all tenants.
 *
 * @param names a domain and those above it
 */
export async function findVerifiedDomains(
  engine: pg.Pool,
  names: readonly string[],
): Promise<{ name: string; tenantId: Uuid }[]> {
  const result = await engine.query<{ name: string; tenantId: Uuid }>({
    name: 'find-verified-domains',
    text: `SELECT name, tenant_id AS "tenantId" FROM valija.domains WHERE name = ANY($1) AND status = 'verified'`,
    values: [names],
  })
  return result.rows
}

/** Newest first. */
export async function listDomains(database: Database, tenantId: Uuid, page: Page): Promise<StoredDomain[]> {
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.findMany({
      where: { tenantId, ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredDomain)
}

export async function findDomain(database: Database, tenantId: Uuid, id: Uuid): Promise<StoredDomain | null> {
  const row = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.findFirst({ where: { id, tenantId } }),
  )
  return row && toStoredDomain(row)
}

/** What is in the way: the tenant has the name already, or another tenant has it verified. */
export type DomainConflict = 'doubled' | 'verified_elsewhere'

/** Adds a domain that waits for its DNS records, with the tenant's own rights. */
export async function insertPendingDomain(
  database: Database,
  domain: NewDomain & { status: 'pending'; isVouched: false },
): Promise<StoredDomain | 'doubled'> {
  try {
    return toStoredDomain(
      await asTenant(database, domain.tenantId, (prisma) => prisma.domain.create({ data: domain })),
    )
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

/** Adds a domain that the operator vouches for. Sees all tenants, because only one may have the name verified. */
export async function insertVouchedDomain(
  database: Database,
  domain: NewDomain & { status: 'verified'; isVouched: true },
): Promise<StoredDomain | DomainConflict> {
  try {
    return await database.operators.$transaction(async (prisma) => {
      if (await isVerifiedElsewhere(prisma, domain.name, domain.tenantId)) return 'verified_elsewhere'
      return toStoredDomain(await prisma.domain.create({ data: domain }))
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

export type DomainVouching = Pick<StoredDomain, 'status' | 'isVouched' | 'signsDkim'>

/**
 * Changes what the operator says about a domain, after `decide` has seen it with its row locked.
 *
 * @param decide what to write; what it throws undoes everything
 * @returns null when the tenant has no such domain
 */
export async function updateVouching(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  decide: (present: StoredDomain) => DomainVouching,
): Promise<StoredDomain | 'verified_elsewhere' | null> {
  return database.operators.$transaction(async (prisma) => {
    await prisma.$queryRaw`SELECT FROM valija.domains WHERE id = ${id}::uuid AND tenant_id = ${tenantId}::uuid FOR UPDATE`
    const present = await prisma.domain.findFirst({ where: { id, tenantId } })
    if (present === null) return null
    const data = decide(toStoredDomain(present))
    if (data.status === 'verified' && (await isVerifiedElsewhere(prisma, present.name, tenantId))) {
      return 'verified_elsewhere'
    }
    return toStoredDomain(await prisma.domain.update({ where: { id, tenantId }, data }))
  })
}

/** @returns whether there was one */
export async function deleteDomain(database: Database, tenantId: Uuid, id: Uuid): Promise<boolean> {
  const { count } = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.deleteMany({ where: { id, tenantId } }),
  )
  return count > 0
}

/** Asked under a lock on the name, which the transaction keeps: two tenants cannot both be told no. */
async function isVerifiedElsewhere(
  prisma: TransactionClient,
  name: string,
  tenantId: Uuid,
): Promise<boolean> {
  await prisma.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`valija.domain:${name}`}, 0))`
  const other = await prisma.domain.findFirst({
    where: { name, status: 'verified', tenantId: { not: tenantId } },
    select: { id: true },
  })
  return other !== null
}

function toStoredDomain(row: DomainModel): StoredDomain {
  // The database's CHECK knows no other word.
  return { ...row, status: row.status as DomainStatus }
}
