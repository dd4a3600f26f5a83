/**
 * Hints in PostgreSQL: BullMQ's own schema `bullmq`, LISTEN/NOTIFY for the wake-up, SKIP LOCKED to share the work.
 * The default: an installation without Redis needs nothing but its database.
 *
 * All tables that hold hints, and the epoch, are unlogged. They cost no WAL, and PostgreSQL empties them together after a
 * crash or on a promoted standby: the epoch is then missing, which is what tells us at once that hints were lost.
 *
 * Connections: one pool of POOL_MAX for everything of a process; a worker's LISTEN keeps one of them. LISTEN needs a
 * session, so a pooler in transaction mode can't stand between.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { createPostgresBackend, type PgPool, Queue, runMigrations, Worker } from 'bullmq'
import pg from 'pg'
import { livenessOptions, watchConnection } from '../watch-connection.ts'
import { bullHintQueue, type HintStore, JOB_OPTIONS, QUEUE_NAME, WORKER_OPTIONS } from './bull-queue.ts'
import { ADD_DEADLINE_MS, type HintQueue } from './hint-queue.ts'
import { dropEvents } from './postgres-events.ts'
import { type StoreStatus, watchStore } from './store-status.ts'

export const QUEUE_SCHEMA = 'bullmq'

/** LISTEN, one fetch and one completion or add; more does not make BullMQ's functions any quicker. */
const POOL_MAX = 3

/**
 * How long a worker waits for a NOTIFY before it looks by itself, in seconds. BullMQ asks for waiting jobs after it
 * listens, so none is missed in between; this is for a connection that died unseen, and the watch over it is quicker.
 */
const DRAIN_DELAY_S = 30

/**
 * To how many BullMQ trims its events, where a version of it records some all the same (postgres-events.ts).
 * Its default of 10,000 would be most of the schema's size. Zero would mean: never trim.
 */
const EVENTS_MAX = 256

/**
 * Up to this many hints go in one by one: BullMQ's bulk insert makes two temporary tables each time, whose rows in the
 * catalog PostgreSQL must then vacuum. Measured on two cores, in ms: one 0.8, 8 singly 2.8, 9 in bulk 5.0, 16 in bulk
 * 5 to 6, 100 in bulk 10.
 */
const SINGLES_MAX = 16

/**
 * SQLSTATEs that mean the server is not there for us: connection (08), login (28), shutdown or start-up (57P0x), no slot
 * (53300), no such database (3D000), or one that takes no connections (55000).
 */
const AWAY_SQLSTATE = /^(08...|28...|57P0.|53300|3D000|55000)$/

/** In this order: a table may not be unlogged while a logged one refers to it. */
const UNLOGGED_TABLES = ['job_log', 'job_dependency', 'job', 'event', 'meta', 'epoch']

export interface PostgresQueueOptions {
  databaseUrl: string
  onError(error: Error): void
  /** Put before the queue's name, for several queues in one database. */
  prefix?: string
}

/**
 * Makes or updates the schema `bullmq`. Idempotent; concurrent calls wait for each other.
 * The role of `openPostgresQueue` needs USAGE and CREATE on the schema (BullMQ makes a sequence for each queue) and all
 * privileges on its tables and sequences.
 */
export async function migrateQueue(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'valija queue migration' })
  await client.connect()
  try {
    await runMigrations(client, QUEUE_SCHEMA)
    await client.query('BEGIN')
    await client.query(`SELECT pg_advisory_xact_lock(hashtext('valija queue migration'))`)
    await client.query(
      `CREATE UNLOGGED TABLE IF NOT EXISTS ${QUEUE_SCHEMA}.epoch
         (queue text PRIMARY KEY, value text NOT NULL)`,
    )
    const { rows } = await client.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class
        WHERE relnamespace = $1::regnamespace AND relname = ANY ($2) AND relkind = 'r' AND relpersistence = 'p'`,
      [QUEUE_SCHEMA, UNLOGGED_TABLES],
    )
    const logged = new Set(rows.map(({ name }) => name))
    for (const table of UNLOGGED_TABLES) {
      if (logged.has(table)) await client.query(`ALTER TABLE ${QUEUE_SCHEMA}.${table} SET UNLOGGED`)
    }
    await dropEvents(client, QUEUE_SCHEMA)
    await client.query('COMMIT')
  } finally {
    await client.end()
  }
}

/** The URL with our session settings added to those that it may have: hints need no durable commit. */
function withSessionSettings(databaseUrl: string): string {
  const url = new URL(databaseUrl)
  const given = url.searchParams.get('options')
  const ours = `-c search_path=${QUEUE_SCHEMA} -c synchronous_commit=off`
  url.searchParams.set('options', given ? `${given} ${ours}` : ours)
  return url.href
}

const isAway = (error: Error): boolean =>
  !(error instanceof pg.DatabaseError) || AWAY_SQLSTATE.test(error.code ?? '')

/**
 * After any other error a worker is held up so long, in ms: BullMQ repeats a fetch that failed at once, and a disk that is full fails it
 * a thousand times a second, each with a line in the log.
 */
const WORKER_PAUSE_MS = 500

/**
 * What BullMQ asks each time that it has found no job: until when there is a limit of rate, and when the next delayed job is due. Hints have neither, so
 * the answer is known. Of 41,000 mails at full load it had been asked 4,200 times, a round trip each.
 */
const knownAnswers: readonly { asked: RegExp; row: object }[] = [
  {
    asked: /^SELECT rate_limit_ttl, next_delay FROM next_signal\(/m,
    row: { rate_limit_ttl: 0, next_delay: null },
  },
  { asked: /^SELECT next_delay\(\$1\)/m, row: { next_delay: null } },
]

/**
 * BullMQ's statements are few and always the same: each is planned once for a connection. An upgrade that changes what one of its functions gives
 * back ends the kept plans; the pool drops a connection whose statement failed, and the next one plans anew.
 */
const statements = new Map<string, { name: string; answer: object | undefined }>()

function statementOf(text: string): { name: string; answer: object | undefined } {
  const known = statements.get(text)
  if (known) return known
  const answer = knownAnswers.find(({ asked }) => asked.test(text))?.row
  const statement = { name: `hints-${statements.size}`, answer }
  statements.set(text, statement)
  return statement
}

/**
 * The pool as a worker sees it: while the store is away its queries wait instead of failing, until `cut`.
 * BullMQ takes most of PostgreSQL's errors at start-up for errors of the command and repeats it at once, in a hot loop.
 */
function patientPool(pool: pg.Pool, status: StoreStatus) {
  const closed = Promise.withResolvers<never>()
  closed.promise.catch(() => {}) // nobody has to be waiting
  const whenUp = async <T>(command: () => Promise<T>): Promise<T> => {
    await Promise.race([closed.promise, status.whenUp()])
    try {
      return await command()
    } catch (error) {
      if (isAway(error as Error)) status.markDown(error as Error)
      else await Promise.race([closed.promise, delay(WORKER_PAUSE_MS)])
      throw error
    }
  }
  const ask = async <R>(text: string, params: readonly unknown[]) => {
    const { name, answer } = statementOf(text)
    if (answer !== undefined) return { rows: [answer as R], rowCount: 1 }
    return await pool.query<R & pg.QueryResultRow>({ name, text, values: [...params] })
  }
  const patient: PgPool & { options: pg.PoolOptions } = {
    options: pool.options,
    query: <R>(text: string, params: readonly unknown[] = []) => whenUp(() => ask<R>(text, params)),
    connect: () => whenUp(() => pool.connect()),
    end: async () => {}, // the pool is the queue's
    on: (event: 'error' | 'connect', listener: (value: never) => void) => {
      // the queue listens to the pool's errors itself
      if (event === 'connect') pool.on(event, listener as (client: pg.PoolClient) => void)
      return patient
    },
    removeAllListeners: () => patient,
  }
  return { pool: patient, cut: () => closed.reject(new Error('the worker is closed')) }
}

/** Opens the queue; rejects when PostgreSQL does not answer or `migrateQueue` never ran. */
export async function openPostgresQueue(options: PostgresQueueOptions): Promise<HintQueue> {
  const name = options.prefix ? `${options.prefix}-${QUEUE_NAME}` : QUEUE_NAME
  const pool = new pg.Pool({
    connectionString: withSessionSettings(options.databaseUrl),
    application_name: 'valija queue',
    ...livenessOptions,
    max: POOL_MAX,
    idleTimeoutMillis: 0, // a mail after a quiet hour should not wait for a connect
    connectionTimeoutMillis: ADD_DEADLINE_MS,
  })
  pool.on('connect', watchConnection)
  const ping = async () => void (await pool.query('SELECT'))
  const status = watchStore(ping, options.onError, null)
  pool.on('error', (error) => status.markDown(error))
  try {
    return bullHintQueue(await openStore(pool, name, status, options.onError))
  } catch (error) {
    status.close()
    await pool.end()
    throw error
  }
}

async function openStore(
  pool: pg.Pool,
  name: string,
  status: StoreStatus,
  onError: (error: Error) => void,
): Promise<HintStore> {
  const queue = new Queue(
    name,
    { connection: pool, defaultJobOptions: JOB_OPTIONS, streams: { events: { maxLen: EVENTS_MAX } } },
    createPostgresBackend,
  )
  queue.on('error', () => {}) // the pool's own listener has it
  await queue.waitUntilReady()
  return {
    backend: 'postgres',
    status,
    // A crash empties its tables, and then the epoch is gone as well.
    warning: null,
    queue,
    singlesMax: SINGLES_MAX,
    startWorker: (processor, concurrency) => {
      const patient = patientPool(pool, status)
      const worker = new Worker(
        name,
        processor,
        { ...WORKER_OPTIONS, connection: patient.pool, concurrency, drainDelay: DRAIN_DELAY_S },
        createPostgresBackend,
      )
      return { worker, cut: patient.cut }
    },
    isAway,
    readEpoch: async () => {
      const { rows } = await pool.query<{ value: string }>('SELECT value FROM epoch WHERE queue = $1', [name])
      return rows[0]?.value ?? null
    },
    writeEpoch: async (epoch) => {
      await pool.query(
        'INSERT INTO epoch (queue, value) VALUES ($1, $2) ON CONFLICT (queue) DO UPDATE SET value = excluded.value',
        [name, epoch],
      )
    },
    onError,
    close: async () => {
      await queue.close()
      await pool.end()
    },
  }
}
