/** The right to try a route that is down. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { claimProbe, markRouteDown, probeNow } from './route-health.ts'

let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
beforeEach(() => database.engine.query('DELETE FROM valija.route_health'))
afterAll(async () => {
  await database.close()
  await target.drop()
})

const down = (probeInMs: number) =>
  markRouteDown(database.engine, {
    route: 'installation',
    condition: 'down',
    reply: null,
    probeInMs,
    told: [],
    events: [],
  })

test('one has it, and has it alone until the next time', async () => {
  await down(-1)
  const claims = await Promise.all(
    Array.from({ length: 8 }, () => claimProbe(database.engine, 'installation', 60_000)),
  )
  expect(claims.filter(Boolean)).toHaveLength(1)
})

test('is there as soon as it is given before its time', async () => {
  // Half of all moments round to a millisecond that is yet to come.
  for (let round = 0; round < 50; round += 1) {
    await down(60_000)
    expect(await claimProbe(database.engine, 'installation', 60_000)).toBe(false)
    await probeNow(database.engine, 'installation')
    expect(await claimProbe(database.engine, 'installation', 60_000), `round ${round}`).toBe(true)
    await database.engine.query('DELETE FROM valija.route_health')
  }
})
