/** The clock's watch: what it believes after a start, and what becomes of a repair that fails. */
import { type Database, openDatabase, openWake, type Wake } from '@valija/store'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { createClockWatch } from './watch-clock.ts'

let made: TestDatabase
let database: Database
let wake: Wake
beforeEach(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  wake = await openWake(made.url, () => {})
})
afterEach(async () => {
  await wake.close()
  await database.close()
  await made.drop()
})

test('leases are not believed right after a start: the clock may have been set just before', async () => {
  const clock = createClockWatch(database, wake, () => {})
  expect(await clock.canBelieveLeases()).toBe(false)
})

test('a repair that fails is not tried again at once, and keeps nobody from looking at the clock', async () => {
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query('ALTER TABLE valija.shaping_rates RENAME TO gone')
  const clock = createClockWatch(database, wake, () => {})
  await expect(clock.repair()).rejects.toThrow('shaping_rates')
  await clock.canBelieveLeases()
  expect(await clock.repair()).toBe(0)
  await owner.end()
})
