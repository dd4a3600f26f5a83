/** Source addresses: the operator's. Read and written with the engine's rights. */
import type { Uuid, WarmUpPlan } from '@valija/core'
import type pg from 'pg'
import { asOperator, type Database } from './database.ts'
import type { SourceIpModel } from './generated/prisma/models/SourceIp.ts'
import type { Page } from './keys.ts'
import { isUniqueViolation } from './tenants.ts'

/** What can be changed of a source. */
export interface SourceConfig {
  /** The local address to bind; behind a NAT another one than the public address. */
  bind: string
  /** The IPv6 address that it also sends from. */
  ipv6: string | null
  ehloName: string
  pool: string
  weight: number
  state: 'enabled' | 'paused'
  /** Null: it is warm. */
  warmUp: WarmUpPlan | null
}

export interface StoredSource extends SourceConfig {
  id: Uuid
  /** As the world sees it. */
  address: string
  /** When a worker last said that it can bind it. */
  boundAt: Date | null
  /** The last refusal that named its reputation. */
  blockedAt: Date | null
  blockedReply: string | null
  createdAt: Date
}

export type NewSource = SourceConfig & Pick<StoredSource, 'id' | 'address'>

/** Newest first. */
export async function listSources(database: Database, page: Page): Promise<StoredSource[]> {
  const rows = await database.operators.sourceIp.findMany({
    where: page.after === null ? {} : { id: { lt: page.after } },
    orderBy: { id: 'desc' },
    take: page.limit,
  })
  return rows.map(toStoredSource)
}

export async function findSource(database: Database, id: Uuid): Promise<StoredSource | null> {
  const row = await database.operators.sourceIp.findUnique({ where: { id } })
  return row && toStoredSource(row)
}

/** @returns null when there is a source of that address */
export async function insertSource(database: Database, source: NewSource): Promise<StoredSource | null> {
  try {
    const data = { ...source, warmUp: await toJson(source.warmUp) }
    return toStoredSource(await asOperator(database, (prisma) => prisma.sourceIp.create({ data })))
  } catch (error) {
    if (isUniqueViolation(error)) return null
    throw error
  }
}

/** @returns null when there is no such source */
export async function updateSource(
  database: Database,
  id: Uuid,
  { warmUp, ...changes }: Partial<SourceConfig>,
): Promise<StoredSource | null> {
  const data = { ...changes, ...(warmUp !== undefined && { warmUp: await toJson(warmUp) }) }
  const rows = await asOperator(database, (prisma) =>
    prisma.sourceIp.updateManyAndReturn({ where: { id }, data }),
  )
  return rows[0] ? toStoredSource(rows[0]) : null
}

/** @returns whether there was one */
export async function deleteSource(database: Database, id: Uuid): Promise<boolean> {
  const { count } = await asOperator(database, (prisma) => prisma.sourceIp.deleteMany({ where: { id } }))
  return count > 0
}

/** Says that a worker can bind these: what `GET /source-ips` shows of their health. */
export async function noteBoundSources(engine: pg.Pool, ids: readonly Uuid[]): Promise<void> {
  if (ids.length === 0) return
  await engine.query(`UPDATE valija.source_ips SET bound_at = now() WHERE id = ANY ($1::uuid[])`, [ids])
}

/** Keeps the last refusal that named an address's reputation. */
export async function noteBlockedSource(engine: pg.Pool, id: Uuid, reply: string | null): Promise<void> {
  await engine.query(`UPDATE valija.source_ips SET blocked_at = now(), blocked_reply = $2 WHERE id = $1`, [
    id,
    reply,
  ])
}

async function toJson(plan: WarmUpPlan | null) {
  // With Prisma, which is loaded when it is used (database.ts).
  const { DbNull } = await import('./generated/prisma/internal/prismaNamespace.ts')
  return plan === null ? DbNull : { ...plan }
}

function toStoredSource(row: SourceIpModel): StoredSource {
  // Written here only; the database's CHECK knows no other state.
  return {
    ...row,
    state: row.state as SourceConfig['state'],
    warmUp: row.warmUp as WarmUpPlan | null,
  }
}
