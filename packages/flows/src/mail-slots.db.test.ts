/** Slots of a site, when PostgreSQL's clock is set back under them. */
import { type Database, openDatabase, repairFutureTimes } from '@valija/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createMailSlots, type MailSlots } from './mail-slots.ts'

let made: TestDatabase
let database: Database
let slots: MailSlots
beforeEach(async () => {
  made = await createDatabase()
  const errors: Error[] = []
  database = openDatabase({ url: made.url, onError: (error) => errors.push(error) })
  slots = createMailSlots({
    database,
    clock: { nowMs: () => Date.now() },
    onError: (error) => errors.push(error),
  })
})
afterEach(async () => {
  slots.stop()
  await database.close()
  await made.drop()
})

test('who waits for a slot of an hour ahead has one soon after it was put right', async () => {
  await database.engine.query(
    `INSERT INTO valija.shaping_rates (scope_key, next_slot) VALUES ('a', now() + interval '1 h')`,
  )
  let hasBegun = false
  void slots.take('a', 5)?.then(() => {
    hasBegun = true
  })
  await until('the first answer', () => slots.nextAt('a') !== 0 || hasBegun, 2_000).catch(() => {})
  expect(hasBegun).toBe(false)
  await repairFutureTimes(database.engine)
  await until('its turn', () => hasBegun, 30_000)
})
