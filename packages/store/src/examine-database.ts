/**
 * What an examination wants to know of PostgreSQL and of what we keep there. Facts only: what they mean is for others to say.
 * Everything here looks and changes nothing.
 */
import type { Sealer, Stream } from '@valija/core'
import pg from 'pg'
import { oldestDueMs } from './admission.ts'
import type { Database } from './database.ts'
import { findSecretKeyProof, isKeyChanging, isProofOfFirstKey } from './instance.ts'
import { countWorkers } from './leadership.ts'
import { countStrayRows, partitionDaysAhead, partitionedTables } from './maintenance.ts'
import { type MigrationState, readMigrationState } from './migrate.ts'
import { QUEUE_SCHEMA } from './queue/postgres-queue.ts'
import { countSealedOtherwise } from './sealed-values.ts'

export interface ServerFacts {
  /** As in `160004`. */
  version: number
  /** As in `16.4 (Debian 16.4-1)`. */
  versionName: string
  fsync: boolean
  fullPageWrites: boolean
  isReadOnly: boolean
  /** Connections that our user can still open, by the least of the server's, the database's and the user's own limit. */
  freeConnections: number
  maxConnections: number
  /** What to add to this machine's clock to have the server's, in milliseconds. */
  clockOffsetMs: number
  roundTripMs: number
  /** The folder of its files, if it runs on this machine and tells. */
  localFolder: string | null
  databaseSizeBytes: number
  migrations: MigrationState
}

export interface InstallationFacts {
  /** Of the sessions that our processes open: the settings that they ask for must have arrived. */
  role: string
  synchronousCommit: string
  secretKey: 'opened' | 'other_key' | 'retired_key' | 'none' | 'not_given'
  /** Older keys that are configured, values that one of them has sealed, and values that none of the configured keys has. */
  olderKeys: number
  sealedWithOlderKeys: number
  sealedWithUnknownKeys: number
  /** For how many days from today on every table has a partition. */
  daysWithPartitions: number
  /** Days that are kept ready while a worker runs. */
  daysWanted: number
  /** Days that are stored, and those that are ready. */
  days: number
  /** PostgreSQL has room for so many locks of each of so many connections, in all. */
  locks: { perConnection: number; connections: number }
  strayRows: number
  /** By stream: for how long mail has been due without a worker having it. */
  oldestDueMs: Record<Stream, number>
  /** Processes that are connected. */
  workers: number
  /** Of the queue in PostgreSQL. */
  hasQueueTables: boolean
  /** Named routes in use that go straight to exchangers. */
  mxRoutes: number
}

const connectMs = 5_000
const readings = 3

/**
 * Looks at the server as the operator's user, with no role of ours: those may not exist yet.
 *
 * @throws what PostgreSQL or the network says
 */
export async function readServerFacts(databaseUrl: string): Promise<ServerFacts> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'valija doctor',
    connectionTimeoutMillis: connectMs,
    statement_timeout: connectMs,
  })
  client.on('error', () => undefined) // the query under way rejects with it
  await client.connect()
  try {
    const clock = await measureClock(client)
    const server =
      await client.query<Omit<ServerFacts, 'clockOffsetMs' | 'roundTripMs' | 'migrations'>>(serverSql)
    const row = server.rows[0]
    if (row === undefined) throw new Error('PostgreSQL told nothing of itself')
    return {
      ...row,
      databaseSizeBytes: Number(row.databaseSizeBytes),
      ...clock,
      migrations: await readMigrationState(client),
    }
  } finally {
    await client.end()
  }
}

/**
 * Settings that the user may not see are missing from pg_settings. Both ends of the connection have one address when they are one
 * machine, and none over a socket file; through a container's port mapping they differ.
 */
const serverSql = `
  SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS "versionName",
    current_setting('fsync')::bool AS fsync, current_setting('full_page_writes')::bool AS "fullPageWrites",
    current_setting('transaction_read_only')::bool AS "isReadOnly",
    current_setting('max_connections')::int AS "maxConnections",
    least(
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (SELECT sum(numbackends) FROM pg_stat_database),
      (SELECT datconnlimit - numbackends FROM pg_database JOIN pg_stat_database USING (datname)
        WHERE datname = current_database() AND datconnlimit >= 0),
      (SELECT rolconnlimit - (SELECT count(*) FROM pg_stat_activity WHERE usename = rolname) FROM pg_roles
        WHERE rolname = session_user AND rolconnlimit >= 0))::int AS "freeConnections",
    (SELECT setting FROM pg_settings WHERE name = 'data_directory'
      AND inet_server_addr() IS NOT DISTINCT FROM inet_client_addr()) AS "localFolder",
    pg_database_size(current_database()) AS "databaseSizeBytes"`

async function measureClock(client: pg.Client): Promise<{ clockOffsetMs: number; roundTripMs: number }> {
  let best = { clockOffsetMs: 0, roundTripMs: Number.POSITIVE_INFINITY }
  for (let count = 0; count < readings; count++) {
    const startedAt = Date.now()
    const before = performance.now()
    const result = await client.query<{ now: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    )
    const roundTripMs = performance.now() - before
    const clockOffsetMs = Math.round((result.rows[0]?.now ?? 0) - startedAt - roundTripMs / 2)
    if (roundTripMs < best.roundTripMs) best = { clockOffsetMs, roundTripMs }
  }
  return best
}

/**
 * Looks at our own tables, as the processes do.
 *
 * @param sealer null when no secret key is configured
 * @throws what PostgreSQL says, also when the schema is not this version's
 */
export async function readInstallationFacts(
  database: Database,
  sealer: Sealer | null,
): Promise<InstallationFacts> {
  const { engine } = database
  const { rows } = await engine.query<
    Pick<
      InstallationFacts,
      'role' | 'synchronousCommit' | 'daysWithPartitions' | 'days' | 'locks' | 'hasQueueTables' | 'mxRoutes'
    >
  >(
    `SELECT current_user AS role, current_setting('synchronous_commit') AS "synchronousCommit",
       (SELECT count(*) = 2 FROM pg_class WHERE relname IN ('epoch', 'job') AND relnamespace =
         (SELECT oid FROM pg_namespace WHERE nspname = '${QUEUE_SCHEMA}')) AS "hasQueueTables",
       (SELECT count(*)::int FROM pg_inherits WHERE inhparent = 'valija.messages'::regclass) AS days,
       json_build_object('perConnection', current_setting('max_locks_per_transaction')::int,
         'connections', current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) AS locks,
       (SELECT count(*)::int FROM valija.routes WHERE kind = 'mx' AND state = 'enabled') AS "mxRoutes",
       (SELECT coalesce(min(day), $2 + 1)::int FROM unnest($1::text[]) AS parent, generate_series(0, $2::int) AS day
         WHERE to_regclass('valija_parts.' || parent || '_'
           || to_char((now() AT TIME ZONE 'UTC')::date + day, 'YYYYMMDD')) IS NULL) AS "daysWithPartitions"`,
    [partitionedTables, partitionDaysAhead],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('PostgreSQL told nothing of our tables')
  return {
    ...row,
    daysWanted: partitionDaysAhead,
    secretKey: sealer === null ? 'not_given' : await findSecretKeyProof(database, sealer),
    ...(await readSealingFacts(database, sealer)),
    strayRows: await countStrayRows(engine),
    oldestDueMs: await oldestDueMs(engine),
    workers: await countWorkers(engine),
  }
}

async function readSealingFacts(
  database: Database,
  sealer: Sealer | null,
): Promise<Pick<InstallationFacts, 'olderKeys' | 'sealedWithOlderKeys' | 'sealedWithUnknownKeys'>> {
  if (sealer === null) return { olderKeys: 0, sealedWithOlderKeys: 0, sealedWithUnknownKeys: 0 }
  const count = async (fingerprints: readonly Buffer[]) => {
    const counts = await countSealedOtherwise(database.engine, fingerprints)
    return Object.values(counts).reduce((sum, each) => sum + each, 0)
  }
  const sealedWithUnknownKeys = await count(sealer.fingerprints)
  const others = await count(sealer.fingerprints.slice(0, 1))
  // The proof is sealed anew last, when all processes seal with the first key: until then more may come.
  const isOver = (await isProofOfFirstKey(database, sealer)) && !(await isKeyChanging(database))
  return {
    olderKeys: sealer.fingerprints.length - 1,
    sealedWithOlderKeys: others - sealedWithUnknownKeys + (isOver ? 0 : 1),
    sealedWithUnknownKeys,
  }
}
