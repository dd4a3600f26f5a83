/** Housekeeping as a whole: what one step's trouble means for the others, and how it ends. */
import { createIdSource } from '@valija/core'
import { type Database, openDatabase } from '@valija/store'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createMaintenance } from './maintain-storage.ts'

const dayMs = 86_400_000
const retention = { contentMs: 30 * dayMs, historyMs: 30 * dayMs }
let made: TestDatabase
let database: Database
let errors: Error[]

beforeEach(async () => {
  made = await createDatabase()
  errors = []
  database = openDatabase({ url: made.url, onError: () => {} })
  await database.engine.query(
    `INSERT INTO valija.idempotency_keys (tenant_id, key, body_hash, message_id, response, expires_at)
     SELECT $1, n, '', $1, '', now() - interval '1 h' FROM generate_series(1, 6000) AS n`,
    [createIdSource(() => Date.now())()],
  )
})
afterEach(async () => {
  await database.close()
  await made.drop()
})

const start = () => {
  const onError = (error: Error) => errors.push(error)
  const maintenance = createMaintenance({ database, retention, log: () => {}, onError })
  maintenance.start()
  return maintenance
}

const countKeys = async () =>
  (
    await database.engine.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM valija.idempotency_keys',
    )
  ).rows[0]?.count

test('a step that fails is told of and keeps no other step from its turn', async () => {
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query('DROP FUNCTION valija.ensure_partitions').finally(() => owner.end())
  const maintenance = start()
  await until('the old keys are gone', async () => (await countKeys()) === 0)
  await maintenance.stop()
  expect(errors.map((error) => error.message)).toEqual([
    expect.stringMatching(/ensure_partitions.* does not exist/),
  ])
})

test('a stop waits for one piece of work at most, not until all of it is done', async () => {
  await start().stop()
  expect(await countKeys()).toBeGreaterThan(0)
  expect(errors).toEqual([])
})
