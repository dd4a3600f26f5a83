/** Migrations of a database in use: what they may hold up, and what becomes of one that was interrupted. */
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { migrate } from './migrate.ts'

const folder = path.resolve(import.meta.dirname, '../../../prisma/migrations')
const indexes = '20261126000008_indexes'
const triesIndex = '20261126000007_webhook_tries_index'

let made: TestDatabase
let client: pg.Client
beforeEach(async () => {
  made = await createDatabase()
  client = new pg.Client(made.url)
  await client.connect()
})
afterEach(async () => {
  await client.end()
  await made.drop()
})

const ask = async <T extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
  (await client.query<T>(text, values)).rows
const forget = (name: string) =>
  ask('DELETE FROM valija._prisma_migrations WHERE migration_name = $1', [name])
const invalidIndexes = () =>
  ask(
    `SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text LIKE 'valija.%'`,
  )

/** Published before there was a version to upgrade from, on tables that were new or empty. */
const firstAllowed = '20261126'

test('no migration reads a table of the way of a mail while it keeps others from writing it', async () => {
  const names = (await readdir(folder)).filter((name) => name >= firstAllowed && /^\d/.test(name))
  const bad: string[] = []
  for (const name of names) {
    const sql = await readFile(path.join(folder, name, 'migration.sql'), 'utf8')
    for (const [statement, table] of sql.matchAll(/CREATE INDEX (?!CONCURRENTLY).* ON (\S+) \(/g)) {
      if (/\.(?:deliveries|webhook_outbox|idempotency_keys|suppressions|recipients|events)$/.test(table!))
        bad.push(statement)
    }
  }
  expect(names.length).toBeGreaterThan(0)
  expect(bad).toEqual([])
})

test('indexes are built while their tables are written', async () => {
  await forget(indexes)
  await client.query('BEGIN')
  await client.query(`UPDATE valija.deliveries SET crashes = 0`)
  await client.query(`UPDATE valija.webhook_outbox SET tries = 0`)
  const migration = migrate(made.url)
  const other = new pg.Client(made.url)
  await other.connect()
  await until('the migration waits for us', async () => {
    const { rows } = await other.query(
      `SELECT FROM pg_stat_activity WHERE application_name = 'valija migrate' AND wait_event_type = 'Lock'
         AND datname = current_database()`,
    )
    return rows.length === 1
  })
  // Whoever writes now waits for nobody.
  await other.query(`SET lock_timeout = '20ms'`)
  for (let times = 0; times < 50; times += 1) {
    await other.query('UPDATE valija.webhook_outbox SET tries = 0')
    await other.query('UPDATE valija.deliveries SET crashes = 0')
  }
  await client.query('COMMIT')
  expect(await migration).toEqual([indexes])
  await other.end()
})

test.each(['20261127000003_recipient_reasons', '20261127000004_stops', '20261127000065_ends'])(
  'days are written while %s builds its indexes on them',
  async (name) => {
    const sql = await readFile(path.join(folder, name, 'migration.sql'), 'utf8')
    const indexNames = [...sql.matchAll(/CREATE INDEX (\w+) ON/g)].map(([, index]) => index!)
    await forget(name)
    for (const index of indexNames) await client.query(`DROP INDEX IF EXISTS valija.${index}`)
    const insert = `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, seq)
      SELECT valija.new_id(), valija.new_id(), valija.new_id(), 1, '', '', '', 'to', 'queued', 1`
    const tell = `INSERT INTO valija.events (id, tenant_id, type, created_at, data) SELECT valija.new_id(), valija.new_id(), kind, now(), '{}'
      FROM unnest(ARRAY['message.scheduled', 'message.bounced']) AS kind`
    await client.query(`${insert}; ${tell}`)
    const other = new pg.Client(made.url)
    await other.connect()
    // Somebody writes for long: whoever builds waits for that, and nobody for whoever builds.
    const slow = new pg.Client(made.url)
    await slow.connect()
    const { rows } = await slow.query<{ day: string }>(
      `SELECT tableoid::regclass::text AS day FROM valija.recipients UNION SELECT tableoid::regclass::text FROM valija.events`,
    )
    await slow.query('BEGIN')
    for (const { day } of rows) await slow.query(`LOCK TABLE ${day} IN ROW EXCLUSIVE MODE`)
    const migration = migrate(made.url)
    await until('it waits for us', async () => {
      const waiting = await other.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'valija migrate' AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX CONCURRENTLY%'
           AND datname = current_database()`,
      )
      return waiting.rowCount === 1
    })
    await other.query(`SET lock_timeout = '20ms'`)
    for (let times = 0; times < 20; times += 1) await other.query(`${insert}; ${tell}`)
    await slow.query('COMMIT')
    expect(await migration).toEqual([name])
    const valid = await ask(
      'SELECT FROM pg_index WHERE indisvalid AND indexrelid = ANY ($1::text[]::regclass[])',
      [indexNames.map((index) => `valija.${index}`)],
    )
    expect(valid).toHaveLength(indexNames.length)
    await Promise.all([slow.end(), other.end()])
  },
)

test('what an interrupted one left is made anew, by one of any number of runs', async () => {
  await forget(indexes)
  await client.query('DROP INDEX valija.webhook_outbox_batch_idx')
  await client.query(
    `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'valija.deliveries_in_flight_idx'::regclass`,
  )
  expect(await invalidIndexes()).toHaveLength(1)
  const runs = await Promise.all([0, 1, 2].map(() => migrate(made.url)))
  expect(runs.flat()).toEqual([indexes])
  expect(await invalidIndexes()).toEqual([])
  expect(await ask(`SELECT FROM pg_indexes WHERE indexname = 'webhook_outbox_batch_idx'`)).toHaveLength(1)
})

test('days that have tries stay as they are; the days ahead, and those made later, get the index', async () => {
  await forget(triesIndex)
  await client.query('DROP INDEX valija.webhook_tries_event_idx')
  await client.query(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, started_at, duration_ms)
     SELECT valija.new_id(), valija.new_id(), valija.new_id(), valija.new_id(), 'message.accepted', 1, 'delivered', now(), 1`,
  )
  expect(await migrate(made.url)).toEqual([triesIndex])
  await client.query(`SELECT valija.ensure_partitions('webhook_tries', 16)`)
  const days = await ask<{ day: string; isIndexed: boolean }>(
    `SELECT c.relname AS day, EXISTS (SELECT FROM pg_indexes WHERE tablename = c.relname AND indexdef LIKE '%(webhook_id, event_id)') AS "isIndexed"
     FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'valija.webhook_tries'::regclass AND c.relname ~ '\\d{8}$' ORDER BY 1`,
  )
  expect(days).toHaveLength(17)
  expect(days.map(({ isIndexed }) => isIndexed)).toEqual([false, ...Array(16).fill(true)])
})
