/** The right to try a route that is down, as one worker asks for it beside others, on a real PostgreSQL. */
import { createIdSource, steadyNowMs } from '@valija/core'
import { type Database, markRouteDown, openDatabase, type RouteHealth } from '@valija/store'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { createRouteBreaker, type RouteBreaker, type WatchedRoute } from './route-breaker.ts'
import { indexRoutes } from './route-directory.ts'

const relay: WatchedRoute = {
  healthKey: 'installation',
  key: 'installation',
  name: 'installation',
  kind: 'smarthost',
  tenantId: null,
  password: null,
  demandsTls: false,
}

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
    route: relay.healthKey,
    condition: 'down',
    reply: null,
    probeInMs,
    told: [],
    events: [],
  })

/** One that takes it to be time, as a worker does that has read the table a moment ago. */
function impatient(): RouteBreaker {
  const breaker = createRouteBreaker({
    database,
    wake: { send: () => undefined },
    clock: { nowMs: Date.now },
    nextId: createIdSource(Date.now),
    mayTake: () => true,
    onUnavailable: () => undefined,
    onError: (error) => {
      throw error
    },
    log: () => undefined,
  })
  const health: RouteHealth[] = [
    { route: relay.healthKey, condition: 'down', probeInMs: -1, reply: null, since: new Date() },
  ]
  breaker.adopt(indexRoutes({ routes: [], lists: [], sources: [], health }))
  return breaker
}

const inMs = (breaker: RouteBreaker) => breaker.probeAtMs(relay) - steadyNowMs()

test('who comes second asks again when the first one’s turn is over', async () => {
  await down(-1)
  const [first, second] = [impatient(), impatient()]
  expect(await first.claimProbe(relay)).toBe(true)
  expect(await second.claimProbe(relay)).toBe(false)
  for (const breaker of [first, second]) {
    expect(inMs(breaker)).toBeGreaterThan(25_000)
    expect(inMs(breaker)).toBeLessThanOrEqual(30_000)
  }
})

test('who is a moment early by PostgreSQL’s clock asks again in a second, not at once and not in half a minute', async () => {
  await down(900)
  const early = impatient()
  expect(await early.claimProbe(relay)).toBe(false)
  expect(inMs(early)).toBeGreaterThan(500)
  expect(inMs(early)).toBeLessThanOrEqual(1_000)
  // Until then PostgreSQL is not asked: it would say yes by now.
  await database.engine.query("UPDATE valija.route_health SET probe_at = now() - interval '1 s'")
  expect(await early.claimProbe(relay)).toBe(false)
})
