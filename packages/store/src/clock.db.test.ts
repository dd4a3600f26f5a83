import { createIdSource, uuidTimeMs } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { type DatabaseClock, startDatabaseClock } from './clock.ts'

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

/** How far a clock is from the database's, which is read before and after it. */
async function errorOf(clock: DatabaseClock): Promise<number> {
  const before = await databaseNowMs()
  const shown = clock.nowMs()
  const after = await databaseNowMs()
  return Math.max(before - 1 - shown, shown - after)
}

test('the clock is that of PostgreSQL, within some milliseconds', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  expect(await errorOf(clock)).toBeLessThan(50)
  clock.stop()
})

test('waiting for a connection does not set it wrong', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  const busy = pool.query('SELECT pg_sleep(1)')
  await clock.sync()
  await busy
  expect(await errorOf(clock)).toBeLessThan(50)
  clock.stop()
})

test('what is said after something that another process said is later; a time that no reading shows has no effect', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  const nextId = createIdSource(clock.nowMs)
  const theirs = createIdSource(() => clock.nowMs() + 500)
  const first = theirs()
  clock.saw(uuidTimeMs(first))
  expect(nextId() > first).toBe(true)
  expect(clock.nowMs()).toBe(uuidTimeMs(first) + 1)
  // Time goes on as soon as it is past that.
  await expect.poll(() => clock.nowMs()).toBeGreaterThan(uuidTimeMs(first) + 1)
  clock.saw(Date.now() + 60_000)
  expect(await errorOf(clock)).toBeLessThan(50)
  clock.stop()
})
