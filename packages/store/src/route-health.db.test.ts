/** The right to try a route that is down. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, inTransaction, openDatabase } from './database.ts'
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
  expect(claims.filter(({ isOurs }) => isOurs)).toHaveLength(1)
})

test('is there as soon as it is given before its time', async () => {
  await down(60_000)
  const refused = await claimProbe(database.engine, 'installation', 60_000)
  expect(refused).toEqual({ isOurs: false, inMs: expect.closeTo(60_000, -4) })
  await probeNow(database.engine, 'installation')
  expect(await claimProbe(database.engine, 'installation', 60_000)).toEqual({ isOurs: true })
})

test('given, it is never for a moment that is yet to come', async () => {
  // Half of all moments round to a millisecond after them; in a transaction the time stands still.
  for (let round = 0; round < 30; round += 1) {
    const isAhead = await inTransaction(database.engine, 'BEGIN', async (client) => {
      await client.query('DELETE FROM valija.route_health')
      await client.query(
        "INSERT INTO valija.route_health (route, condition, probe_at, told) VALUES ('installation', 'down', now() + interval '1 h', '{}')",
      )
      await probeNow(client, 'installation')
      const { rows } = await client.query<{ isAhead: boolean }>(
        'SELECT probe_at > now() AS "isAhead" FROM valija.route_health',
      )
      return rows[0]?.isAhead
    })
    expect(isAhead, `round ${round}`).toBe(false)
  }
})
