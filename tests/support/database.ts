/**
 * One database per test file, cloned from a template that was migrated once per run and day: it has the partitions of the
 * days from then on, as an installation has that was made today.
 *
 * A clone is a copy of files (0.1 s of processor time; page by page through the log it would be 0.55 s, and 0.13 s to drop), where the migrations
 * would take more than a second. The first test file to ask makes
 * the template; the others wait at an advisory lock. PostgreSQL refuses to clone a database that has connections,
 * so nobody connects to the template after its migrations, and clones are made one at a time.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { until } from './until.ts'

/** Any number that no product code uses; advisory locks are per database, and ours is the cluster's `postgres`. */
const TEMPLATE_LOCK = 7_301_001

/** By the day (UTC), as partitions are. */
const templateOfToday = (): string =>
  `valija_template_${new Date().toISOString().slice(0, 10).replaceAll('-', '')}`

/** What a test has left open on purpose is ended then. */
const leaveMs = 500

export type TestDatabase = {
  url: string
  /** Ends all connections to it and removes it. */
  drop: () => Promise<void>
}

/** The cluster's URL with another database name. */
function urlOf(database: string): string {
  const url = new URL(inject('clusterUrl'))
  url.pathname = `/${database}`
  return url.href
}

/** Runs one piece of administration, alone in the cluster when `locked`. */
async function asAdministrator<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(inject('clusterUrl'))
  await client.connect()
  try {
    await client.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK])
    return await work(client) // the lock ends with the connection
  } finally {
    await client.end()
  }
}

/** The migrated template. It gets its name last, so a template that exists is whole. */
async function ensureTemplate(client: pg.Client): Promise<string> {
  const template = templateOfToday()
  const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [template])
  if (rowCount === 1) return template
  const unfinished = `${template}_${randomBytes(4).toString('hex')}`
  await client.query(`CREATE DATABASE ${unfinished}`)
  const { migrate, migrateQueue } = await import('@valija/store')
  await migrate(urlOf(unfinished))
  await migrateQueue(urlOf(unfinished))
  await client.query(`ALTER DATABASE ${unfinished} RENAME TO ${template}`)
  return template
}

/**
 * Waits a while until nobody is connected to it: a pool's `end` resolves before PostgreSQL has heard of it, and a connection that is
 * ended by force in between throws at nobody who listens.
 */
async function untilLeft(client: pg.Client, name: string): Promise<void> {
  await until(
    'its last connection',
    async () =>
      (await client.query('SELECT FROM pg_stat_activity WHERE datname = $1', [name])).rowCount === 0,
    leaveMs,
  ).catch(() => undefined)
}

async function make(name: string, { isMigrated }: { isMigrated: boolean }): Promise<TestDatabase> {
  await asAdministrator(async (client) => {
    const source = isMigrated ? ` TEMPLATE ${await ensureTemplate(client)} STRATEGY FILE_COPY` : ''
    await client.query(`CREATE DATABASE ${name}${source}`)
  })
  return {
    url: urlOf(name),
    drop: async () => {
      const client = new pg.Client(inject('clusterUrl'))
      await client.connect()
      await untilLeft(client, name)
      await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      await client.end()
    },
  }
}

const freshName = (): string => `test_${process.pid}_${randomBytes(6).toString('hex')}`

/** A migrated database of its own. */
export const createDatabase = (): Promise<TestDatabase> => make(freshName(), { isMigrated: true })

/** A database with nothing in it, for tests of the migrations themselves. */
export const createEmptyDatabase = (): Promise<TestDatabase> => make(freshName(), { isMigrated: false })
