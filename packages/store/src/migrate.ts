/**
 * Applies the migrations of prisma/migrations, in order, under an advisory lock, and writes them down in a table of Prisma's form.
 * Each is one transaction that changes nothing but the catalogue and small tables, or statements by themselves, for indexes that are built
 * CONCURRENTLY while their tables are written, day by day where a table has days (build-on-days.ts).
 *
 * A transaction waits at most 0.3 s for a lock and is tried again after a pause, so traffic never queues up behind it for long. The
 * processes of the previous version work meanwhile, and take locks in an order of their own: whoever waits for us while we wait for it is
 * let go well before PostgreSQL looks for deadlocks (after 1 s), which would end one of the two, and often not us.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { buildOnDays } from './build-on-days.ts'
import { ensurePartitions, partitionDaysAhead } from './maintenance.ts'

const migrationsFolder = path.resolve(import.meta.dirname, '../../../prisma/migrations')
const lockTimeout = '300ms'
const lockTries = 40
/** For partitions, whose function waits for half a second each time. */
const dayTries = 10
/** Between two tries, in milliseconds; up to twice as long, so that nobody's rhythm is met again and again. */
const pauseMs = 150
/** The first line of a migration whose statements run each by itself. They can be repeated: a run that ends in between is begun anew. */
const outsideMark = /^-- Outside a transaction/
/** 55P03 lock_not_available, 40P01 deadlock_detected: nothing of the migration is there, and it can begin anew. */
const passingCodes: ReadonlySet<unknown> = new Set(['55P03', '40P01'])

/** Thrown when the database has a migration that this version does not know, or one that was changed after it ran. */
export class MigrationError extends Error {
  override name = 'MigrationError'
}

export interface Migration {
  name: string
  sql: string
  checksum: string
}

/**
 * Brings the database to this version's schema and makes the partitions of the next days.
 *
 * @returns the names of the migrations that were applied now
 * @throws {MigrationError} when the database is newer than this version or a migration was changed
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'valija migrate' })
  await client.connect().catch((cause: Error) => {
    throw new MigrationError(`PostgreSQL cannot be used: ${cause.message}. Check DATABASE_URL.`, { cause })
  })
  try {
    await takeTurn(client)
    await client.query('CREATE SCHEMA IF NOT EXISTS valija')
    await client.query(`CREATE TABLE IF NOT EXISTS valija._prisma_migrations (
      id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
      logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)`)
    const pending = await findPending(client, await readMigrations())
    for (const migration of pending) await applyPatiently(client, migration)
    await ensureDays(client)
    return pending.map((migration) => migration.name)
  } finally {
    await client.end()
  }
}

/**
 * One `migrate` at a time. Asked for again and again: one that waits in a statement holds a snapshot, for whose end an index that the other
 * one builds would wait.
 */
async function takeTurn(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ isOurs: boolean }>(
      `SELECT pg_try_advisory_lock(hashtext('valija.migrate')) AS "isOurs"`,
    )
    if (rows[0]?.isOurs) return
    await delay(pauseMs)
  }
}

/** Whether every migration of this version has been applied: what a start without `migrate` checks. */
export async function isMigrated(pool: pg.Pool): Promise<boolean> {
  return (await readMigrationState(pool)).pending.length === 0
}

export interface MigrationState {
  /** Of this version, and not applied. */
  pending: string[]
  /** Applied, and not of this version: a newer one was here. */
  unknown: string[]
}

/** @throws what PostgreSQL throws, except that there is nothing of ours yet */
export async function readMigrationState(client: Pick<pg.ClientBase, 'query'>): Promise<MigrationState> {
  const known = (await readMigrations()).map(({ name }) => name)
  const result = await client
    .query<{ name: string }>(
      'SELECT migration_name AS name FROM valija._prisma_migrations WHERE finished_at IS NOT NULL ORDER BY 1',
    )
    .catch((error: { code?: string }) => {
      // 42P01 undefined_table, 3F000 invalid_schema_name, 22023 the roles do not exist yet.
      if (error.code === '42P01' || error.code === '3F000' || error.code === '22023') return { rows: [] }
      throw error
    })
  const applied = result.rows.map(({ name }) => name)
  return {
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  }
}

async function readMigrations(): Promise<Migration[]> {
  const entries = await readdir(migrationsFolder, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  return Promise.all(
    names.sort().map(async (name) => {
      const sql = await readFile(path.join(migrationsFolder, name, 'migration.sql'), 'utf8')
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
    }),
  )
}

async function findPending(client: pg.Client, known: Migration[]): Promise<Migration[]> {
  const result = await client.query<{ name: string; checksum: string }>(
    'SELECT migration_name AS name, checksum FROM valija._prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
  )
  for (const applied of result.rows) {
    const migration = known.find((candidate) => candidate.name === applied.name)
    if (migration && migration.checksum !== applied.checksum) {
      throw new MigrationError(
        `the migration ${applied.name} was changed after it was applied to this database`,
      )
    }
  }
  const applied = new Set(result.rows.map((row) => row.name))
  return known.filter((migration) => !applied.has(migration.name))
}

async function applyPatiently(client: pg.Client, migration: Migration): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await apply(client, migration)
      return
    } catch (error) {
      await client.query('ROLLBACK')
      if (!passingCodes.has((error as { code?: string }).code) || tries >= lockTries) throw error
      await delay(pauseMs * (1 + Math.random()))
    }
  }
}

/** Where a long reader is in the way, today's and tomorrow's partitions are enough: the workers make the others later. */
async function ensureDays(client: pg.Client): Promise<void> {
  let daysAhead = partitionDaysAhead
  for (let tries = 1; ; tries++) {
    try {
      await ensurePartitions(client, daysAhead)
      return
    } catch (error) {
      // 55P03 lock_not_available
      if ((error as { code?: string }).code !== '55P03' || tries >= dayTries) throw error
      daysAhead = 1
    }
  }
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  if (outsideMark.test(migration.sql)) {
    // Nobody queues up behind a wait of these: they let everybody read and write.
    for (const statement of migration.sql.split(/;\s*$/m)) {
      if (!(await buildOnDays(client, statement, lockTimeout))) await client.query(statement)
    }
    await client.query('BEGIN')
  } else {
    await client.query(`BEGIN; SET LOCAL lock_timeout = '${lockTimeout}'`)
    await client.query(migration.sql)
  }
  await client.query(
    `INSERT INTO valija._prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
     VALUES ($1, $2, $3, now(), 1)`,
    [randomUUID(), migration.checksum, migration.name],
  )
  await client.query('COMMIT')
}
