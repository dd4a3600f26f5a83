/**
 * A process's connections to PostgreSQL: two pools, one per database role (DESIGN 4.12), and Prisma over each.
 *
 * `engine` sees every tenant: accept, lease, settle, sweep, the operator's routes. `tenant` sees nothing until a
 * transaction says for whom it works (`asTenant`), whatever the query's own filter is.
 * Connections per process: 4 + 2 here, 1 to listen, 1 to notify, 1 to lead and at most 3 of the queue: 12 (DESIGN 4.25).
 */
import { PrismaPg } from '@prisma/adapter-pg'
import type { Uuid } from '@valija/core'
import pg from 'pg'
import { mayAskTogether } from './ask-together.ts'
import { tellRequest } from './audited-request.ts'
import { PrismaClient } from './generated/prisma/client.ts'
import type { TransactionClient } from './generated/prisma/internal/prismaNamespace.ts'
import { type RetryOptions, retryConflicts } from './retry-conflicts.ts'
import { livenessOptions, livenessSettings, watchConnection } from './watch-connection.ts'

/** Counters of type int8 fit into a double here. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
}

export interface DatabaseOptions {
  url: string
  /** Told of every broken idle connection; the pool replaces it by itself. */
  onError: (error: Error) => void
}

export interface Database {
  readonly url: string
  readonly engine: pg.Pool
  readonly tenant: pg.Pool
  /** Management tables with the engine's rights: the operator's routes. */
  readonly operators: PrismaClient
  /** Management tables with a tenant's rights: use `asTenant`. */
  readonly tenants: PrismaClient
  /** Loads what Prisma reads of files at its first query only; connects to nothing. */
  load(): Promise<void>
  close(): Promise<void>
}

/** Opens the pools; connects on first use. */
export function openDatabase(options: DatabaseOptions): Database {
  const engine = openPool(options, {
    role: 'valija_engine',
    connections: 4,
    statementTimeoutMs: 30_000,
    isAskedTogether: true,
  })
  const tenant = openPool(options, { role: 'valija_tenant', connections: 2, statementTimeoutMs: 10_000 })
  // For a connection a transaction waits as long as a statement does: there are few, and Prisma's own two seconds are soon over where many ask.
  const transactionOptions = { maxWait: livenessOptions.connectionTimeoutMillis }
  const operators = new PrismaClient({ adapter: new PrismaPg(engine), transactionOptions })
  const tenants = new PrismaClient({ adapter: new PrismaPg(tenant), transactionOptions })
  return {
    url: options.url,
    engine,
    tenant,
    operators,
    tenants,
    load: async () => {
      await operators.$connect()
      await tenants.$connect()
    },
    close: async () => {
      await Promise.all([operators.$disconnect(), tenants.$disconnect()])
      await Promise.all([engine.end(), tenant.end()])
    },
  }
}

interface PoolSettings {
  role: string
  connections: number
  /** A statement ends after this: one tenant's search of a long history must not keep the others waiting. */
  statementTimeoutMs: number
  /** For `askTogether`. */
  isAskedTogether?: boolean
}

function openPool({ url, onError }: DatabaseOptions, settings: PoolSettings): pg.Pool {
  const { role, connections, statementTimeoutMs, isAskedTogether = false } = settings
  const pool = new pg.Pool({
    connectionString: withServerSettings(url, {
      role,
      statement_timeout: `${statementTimeoutMs}`,
      synchronous_commit: 'on',
      TimeZone: 'UTC',
      // Before PostgreSQL 18 a sort that cannot be done without costs 10^10 where sorts are off (plan-once.ts), and what costs that much is compiled anew each time.
      jit: 'off',
    }),
    ...livenessOptions,
    ...(isAskedTogether && mayAskTogether),
    max: connections,
    application_name: `valija ${role.slice('valija_'.length)}`,
    idleTimeoutMillis: 60_000,
    types,
  })
  pool.on('error', onError)
  pool.on('connect', watchConnection)
  return pool
}

/** Adds settings behind those that the operator's URL has in `options`, so that ours decide and theirs stay. */
export function withServerSettings(url: string, settings: Readonly<Record<string, string>>): string {
  const parsed = new URL(url)
  const ours = Object.entries({ ...livenessSettings, ...settings }).map(
    ([name, value]) => `-c ${name}=${value}`,
  )
  parsed.searchParams.set('options', [parsed.searchParams.get('options') ?? '', ...ours].join(' ').trim())
  return parsed.href
}

/**
 * Runs a read of a tenant's own rows: hand-made SQL in a transaction that row-level security confines to that tenant.
 *
 * @param settings `SET LOCAL …`, for this transaction
 */
export async function readAsTenant<T>(
  database: Database,
  tenantId: Uuid,
  read: (client: pg.PoolClient) => Promise<T>,
  settings = '',
): Promise<T> {
  return inTransaction(database.tenant, `BEGIN READ ONLY; ${confineTo(tenantId)}; ${settings}`, read)
}

/** The same, for writes. */
export async function writeAsTenant<T>(
  database: Database,
  tenantId: Uuid,
  write: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return inTransaction(database.tenant, `BEGIN; ${confineTo(tenantId)}`, write)
}

/** Runs Prisma calls on management tables, confined to a tenant by row-level security. */
export async function asTenant<T>(
  database: Database,
  tenantId: Uuid,
  work: (prisma: TransactionClient) => Promise<T>,
): Promise<T> {
  return retryConflicts(() =>
    database.tenants.$transaction(async (prisma) => {
      await prisma.$executeRawUnsafe(confineTo(tenantId))
      await tellWhoAsks(prisma)
      return work(prisma)
    }),
  )
}

/** The same with the operator's rights, which are the engine's: rows of all tenants. */
export async function asOperator<T>(
  database: Database,
  work: (prisma: TransactionClient) => Promise<T>,
): Promise<T> {
  return retryConflicts(() =>
    database.operators.$transaction(async (prisma) => {
      await tellWhoAsks(prisma)
      return work(prisma)
    }),
  )
}

/** For the audit log. */
async function tellWhoAsks(prisma: TransactionClient): Promise<void> {
  const told = tellRequest()
  if (told !== null) await prisma.$executeRawUnsafe(told)
}

/** Runs `work` in a transaction of the engine. */
export async function asEngine<T>(
  database: Database,
  work: (client: pg.PoolClient) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  return inTransaction(database.engine, 'BEGIN', work, options)
}

/** SET LOCAL takes no parameters, so the id's form is checked instead. */
function confineTo(tenantId: Uuid): string {
  if (!/^[0-9a-f-]{36}$/.test(tenantId)) throw new TypeError('a tenant id is a UUID')
  return `SET LOCAL valija.tenant = '${tenantId}'`
}

/**
 * Runs `work` on one connection between `begin` and COMMIT; what it throws undoes everything. After a deadlock it is run again,
 * so it keeps nothing of an earlier run.
 *
 * @param begin the statements that begin the transaction
 */
export function inTransaction<T>(
  pool: pg.Pool,
  begin: string,
  work: (client: pg.PoolClient) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  const told = tellRequest()
  return retryConflicts(() => transactOnce(pool, told === null ? begin : `${begin}; ${told}`, work), options)
}

async function transactOnce<T>(
  pool: pg.Pool,
  begin: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let failure: Error | undefined
  try {
    await client.query(begin)
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error))
    await client.query('ROLLBACK').then(
      () => {
        failure = undefined
      },
      // The connection is broken: the pool drops it below.
      () => undefined,
    )
    throw error
  } finally {
    client.release(failure)
  }
}
