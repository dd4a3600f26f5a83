import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { startDatabaseClock } from './clock.ts'

let pool: pg.Pool
let drop: () => Promise<void>

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  pool = new pg.Pool({ connectionString: made.url, max: 1 })
})
afterAll(async () => {
  await pool.end()
  await drop()
})

const databaseNowMs = async () => {
  const result = await pool.query<{ now: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
  )
  return result.rows[0]!.now
}

test('the clock is that of PostgreSQL, within some milliseconds', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  expect(Math.abs(clock.nowMs() - (await databaseNowMs()))).toBeLessThan(50)
  clock.stop()
})

test('waiting for a connection does not set it wrong', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  const busy = pool.query('SELECT pg_sleep(1)')
  await clock.sync()
  await busy
  expect(Math.abs(clock.nowMs() - (await databaseNowMs()))).toBeLessThan(100)
  clock.stop()
})
