/**
 * Sender domains. A name is held once per tenant, pending in any number of tenants, and verified in one: whoever makes a
 * domain verified does so under a lock on its name. Locks are taken in one order by all: the tenant's (while domains are added), the
 * name's, the rows'.
 */
import type { Uuid } from '@valija/core'
import type { DkimAlgorithm, RecordFaultCode } from '@valija/mail'
import type pg from 'pg'
import { asOperator, asTenant, type Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import type { TransactionClient } from './generated/prisma/internal/prismaNamespace.ts'
import type { DomainGetPayload, DomainInclude } from './generated/prisma/models/Domain.ts'
import type { Page } from './keys.ts'
import { isUniqueViolation } from './tenants.ts'

export type DomainStatus = 'pending' | 'verified' | 'failed'

/** What DNS was last seen to say of one record. */
export interface DomainCheck {
  type: string
  name: string
  /** By the last answer that DNS gave. */
  status: 'ok' | 'missing' | 'wrong' | 'unchecked'
  found: string[]
  /** What is wrong, or why the last question had no answer. */
  fault: string | null
  faultCode: RecordFaultCode | null
  /** Whose answer it was, as people are told. */
  resolver: string | null
  checkedAt: Date
  seenRightAt: Date | null
}

/**
 * `next`: its record is waited for; `active`: mail is signed by it; `retiring`: its successor signs, and its record stays for mail
 * that is still under way.
 */
export type DkimKeyState = 'next' | 'active' | 'retiring'

/** A DKIM key as everybody may see it. */
export interface StoredDkimKey {
  selector: string
  algorithm: DkimAlgorithm
  /** p= of the DNS record. */
  publicKey: string
  state: DkimKeyState
  /** Given by the tenant. */
  isOwn: boolean
  /** Of a retiring key: until when its record has to stay. */
  retiresAt: Date | null
}

export interface NewDkimKey extends Omit<StoredDkimKey, 'retiresAt'> {
  /** Sealed. */
  privateKey: Buffer
}

export interface StoredDomain {
  id: Uuid
  tenantId: Uuid
  /** Lower-case A-labels. */
  name: string
  status: DomainStatus
  /** The operator stands in for it: no DNS is asked. */
  isVouched: boolean
  signsDkim: boolean
  dkimAlgorithms: DkimAlgorithm[]
  /** What the tenant publishes to show that the name is its own. */
  token: string
  /** The name of its return path below it. */
  returnPathLabel: string
  verifiedAt: Date | null
  /** Since when the proof of a verified domain has been missing; null while it is there. */
  failingSince: Date | null
  createdAt: Date
  /** By algorithm and age; also those of algorithms that are not wanted any more. */
  dkimKeys: StoredDkimKey[]
  checks: DomainCheck[]
}

type MadeLater = 'createdAt' | 'checks' | 'dkimKeys' | 'verifiedAt' | 'failingSince' | 'returnPathLabel'
export type NewDomain = Omit<StoredDomain, MadeLater> &
  Partial<Pick<StoredDomain, 'returnPathLabel'>> & { dkimKeys: NewDkimKey[] }

/** A domain with what belongs to it, but for the private keys. */
const whole = {
  dkimKeys: {
    select: { selector: true, algorithm: true, publicKey: true, state: true, isOwn: true, retiresAt: true },
    orderBy: [{ algorithm: 'desc' }, { createdAt: 'asc' }, { selector: 'asc' }],
  },
  checks: true,
} satisfies DomainInclude
type WholeDomain = DomainGetPayload<{ include: typeof whole }>

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
      include: whole,
    }),
  )
  return rows.map(toStoredDomain)
}

export async function findDomain(database: Database, tenantId: Uuid, id: Uuid): Promise<StoredDomain | null> {
  const row = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.findFirst({ where: { id, tenantId }, include: whole }),
  )
  return row && toStoredDomain(row)
}

/** Those of the tenant's domains that have one of these names. */
export async function findDomainsNamed(
  database: Database,
  tenantId: Uuid,
  names: readonly string[],
): Promise<StoredDomain[]> {
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.findMany({ where: { tenantId, name: { in: [...names] } }, include: whole }),
  )
  return rows.map(toStoredDomain)
}

/** What is in the way: the tenant has the name already, or another tenant has it verified. */
export type DomainConflict = 'doubled' | 'verified_elsewhere'

/** Domains of one tenant, those of a platform's customers among them: workers ask the DNS for each, daily at least. */
export const maxDomains = 10_000

/** Adds a domain that waits for its DNS records, with the tenant's own rights. */
export async function insertPendingDomain(
  database: Database,
  domain: NewDomain & { status: 'pending'; isVouched: false },
): Promise<StoredDomain | 'doubled' | 'full'> {
  try {
    return await asTenant(database, domain.tenantId, async (prisma) => {
      if (await hasAllItMay(prisma, domain.tenantId)) return 'full' as const
      return toStoredDomain(await createDomain(prisma, domain))
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

/** Adds a domain that the operator vouches for. Sees all tenants, because only one may have the name verified. */
export async function insertVouchedDomain(
  database: Database,
  domain: NewDomain & { status: 'verified'; isVouched: true },
): Promise<StoredDomain | DomainConflict | 'full'> {
  try {
    return await asOperator(database, async (prisma) => {
      if (await hasAllItMay(prisma, domain.tenantId)) return 'full' as const
      await lockName(prisma, domain.name)
      if (await isVerifiedElsewhere(prisma, domain.name, domain.tenantId)) return 'verified_elsewhere'
      return toStoredDomain(await createDomain(prisma, domain))
    })
  } catch (error) {
    if (isUniqueViolation(error)) return 'doubled'
    throw error
  }
}

/** Without a lock, for which others would wait: of some that add the last one at once all may. */
async function hasAllItMay(prisma: TransactionClient, tenantId: Uuid): Promise<boolean> {
  return (await prisma.domain.count({ where: { tenantId } })) >= maxDomains
}

const firstCheckMs = 5 * 60_000

function createDomain(prisma: TransactionClient, { dkimKeys, ...domain }: NewDomain): Promise<WholeDomain> {
  // By this machine's clock, which is good enough for a first look: until then the tenant asks for it.
  const nextCheckAt = new Date(Date.now() + firstCheckMs)
  const data = { ...domain, nextCheckAt, dkimKeys: { create: dkimKeys.map(toRow) } }
  return prisma.domain.create({ data, include: whole })
}

/** Prisma wants octets of no shared memory. */
function toRow({ privateKey, ...key }: NewDkimKey) {
  return { ...key, privateKey: new Uint8Array(privateKey) }
}

export type DomainChanges = Pick<
  StoredDomain,
  'status' | 'isVouched' | 'signsDkim' | 'dkimAlgorithms' | 'returnPathLabel' | 'failingSince'
>

/**
 * Changes a domain, after `decide` has seen it with its row locked.
 *
 * @param decide what to write; what it throws undoes everything
 * @returns null when the tenant has no such domain
 */
export async function updateDomain(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  decide: (present: StoredDomain) => DomainChanges,
): Promise<StoredDomain | 'verified_elsewhere' | null> {
  return asOperator(database, async (prisma) => {
    const named = await prisma.domain.findFirst({ where: { id, tenantId }, select: { name: true } })
    if (named === null) return null
    await lockName(prisma, named.name)
    const present = await lockDomain(prisma, tenantId, id)
    if (present === null) return null
    const data = decide(toStoredDomain(present))
    if (data.status === 'verified' && (await isVerifiedElsewhere(prisma, present.name, tenantId))) {
      return 'verified_elsewhere'
    }
    // There is another record to see, or a proof that nobody asked for before.
    if (data.returnPathLabel !== present.returnPathLabel || (present.isVouched && !data.isVouched)) {
      await prisma.$executeRawUnsafe(
        `UPDATE valija.domains SET next_check_at = ${dueNowSql} WHERE id = $1::uuid`,
        id,
      )
    }
    return toStoredDomain(await prisma.domain.update({ where: { id, tenantId }, data, include: whole }))
  })
}

/**
 * Gives a domain those of the keys whose algorithm it has none of yet: of two that add at the same time, one does.
 *
 * @returns null when the tenant has no such domain
 */
export async function addMissingDkimKeys(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  keys: readonly NewDkimKey[],
): Promise<StoredDomain | null> {
  return asOperator(database, async (prisma) => {
    const present = await lockDomain(prisma, tenantId, id)
    if (present === null) return null
    const missing = keys.filter(
      ({ algorithm }) => !present.dkimKeys.some((known) => known.algorithm === algorithm),
    )
    const data = { dkimKeys: { create: missing.map(toRow) } }
    return toStoredDomain(await prisma.domain.update({ where: { id, tenantId }, data, include: whole }))
  })
}

/**
 * Gives a domain keys that wait for their records. Where the present key of an algorithm was never seen in the DNS, no mail was signed
 * by it: one of the tenant's own takes its place at once. One of ours does not: somebody may be publishing the present records.
 */
export async function addNextDkimKeys(
  database: Database,
  { tenantId, id }: Pick<StoredDomain, 'tenantId' | 'id'>,
  keys: readonly NewDkimKey[],
): Promise<'added' | 'under_way' | 'gone'> {
  return asOperator(database, async (prisma) => {
    const present = await lockDomain(prisma, tenantId, id)
    if (present === null) return 'gone'
    if (present.dkimKeys.some(({ state }) => state === 'next')) return 'under_way'
    const neverUsed = present.dkimKeys.filter(
      (key) =>
        keys.some(({ algorithm, isOwn }) => isOwn && algorithm === key.algorithm) && !isInUse(present, key),
    )
    await prisma.dkimKey.deleteMany({
      where: { domainId: id, tenantId, selector: { in: neverUsed.map(({ selector }) => selector) } },
    })
    const create = keys.map((key) => {
      const isFirst = neverUsed.some(({ algorithm }) => algorithm === key.algorithm)
      return toRow({ ...key, state: isFirst ? 'active' : 'next' })
    })
    await prisma.domain.update({ where: { id, tenantId }, data: { dkimKeys: { create } } })
    await prisma.$executeRaw`UPDATE valija.domains SET next_check_at = now() + interval '1 minute' WHERE id = ${id}::uuid`
    return 'added'
  })
}

function isInUse({ isVouched, signsDkim, checks, name }: WholeDomain, key: { selector: string }): boolean {
  if (isVouched && signsDkim) return true
  const recordName = `${key.selector}._domainkey.${name}`
  return checks.some((check) => check.name === recordName && check.seenRightAt !== null)
}

async function lockDomain(prisma: TransactionClient, tenantId: Uuid, id: Uuid): Promise<WholeDomain | null> {
  await prisma.$queryRaw`SELECT FROM valija.domains WHERE id = ${id}::uuid AND tenant_id = ${tenantId}::uuid FOR UPDATE`
  return prisma.domain.findFirst({ where: { id, tenantId }, include: whole })
}

/** @returns whether there was one */
export async function deleteDomain(database: Database, tenantId: Uuid, id: Uuid): Promise<boolean> {
  const { count } = await asTenant(database, tenantId, (prisma) =>
    prisma.domain.deleteMany({ where: { id, tenantId } }),
  )
  return count > 0
}

/** The same lock as domain-checks.ts takes. Before any lock on a row of that name: a claim has rows of other tenants to lock. */
async function lockName(prisma: TransactionClient, name: string): Promise<void> {
  await prisma.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`valija.domain:${name}`}, 0))`
}

/** Asked under the lock on the name, which the transaction keeps: two tenants cannot both be told no. */
async function isVerifiedElsewhere(
  prisma: TransactionClient,
  name: string,
  tenantId: Uuid,
): Promise<boolean> {
  const other = await prisma.domain.findFirst({
    where: { name, status: 'verified', tenantId: { not: tenantId } },
    select: { id: true },
  })
  return other !== null
}

function toStoredDomain(row: WholeDomain): StoredDomain {
  // The database's CHECKs know no other words.
  return row as StoredDomain
}
