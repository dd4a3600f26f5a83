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

test('what is told after something that another process told is later; what is only measured stays', async () => {
  const clock = await startDatabaseClock(pool, () => {})
  const nextId = createIdSource(clock.tellMs)
  const theirs = createIdSource(() => clock.nowMs() + 200)()
  clock.saw(uuidTimeMs(theirs))
  expect(nextId() > theirs).toBe(true)
  expect(clock.tellMs()).toBeGreaterThan(uuidTimeMs(theirs))
  expect(await errorOf(clock)).toBeLessThan(50)
  await expect.poll(() => clock.nowMs()).toBeGreaterThan(uuidTimeMs(theirs) + 1)
  expect(clock.tellMs() - clock.nowMs()).toBeLessThan(50)
  clock.stop()
})

test('a time that no reading can show is not followed, nor one from before the clock was set back', async () => {
  let aheadMs = 0
  const setClock = {
    connect: async () => {
      const client = await pool.connect()
      const query = async (sql: string) => {
        const { rows } = await client.query<{ now: number }>(sql)
        return { rows: rows.map(({ now }) => ({ now: now + aheadMs })) }
      }
      return { query, release: () => client.release() }
    },
  } as unknown as pg.Pool
  const clock = await startDatabaseClock(setClock, () => {})
  clock.saw(clock.nowMs() + 60_000)
  expect(await errorOf({ ...clock, nowMs: clock.tellMs })).toBeLessThan(50)
  aheadMs = 3_600_000
  await clock.sync()
  clock.saw(clock.nowMs() + 200)
  aheadMs = 0
  await clock.sync()
  expect(await errorOf({ ...clock, nowMs: clock.tellMs })).toBeLessThan(50)
  const theirs = clock.nowMs() + 200
  clock.saw(theirs)
  expect(clock.tellMs()).toBeGreaterThan(theirs)
  clock.stop()
})
