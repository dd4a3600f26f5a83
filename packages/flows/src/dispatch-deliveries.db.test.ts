/** How the dispatcher's rounds follow one another while a backlog waits: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import { type Database, type Leadership, leaderBeatMs, openDatabase, openLeadership } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createDispatcher, type Dispatcher } from './dispatch-deliveries.ts'
import { roomPayload } from './settle-desk.ts'

const nextId = createIdSource(Date.now)
/** What a rest comes to where workers are done with one row at a time. */
const longestRestMs = 50
let made: TestDatabase
let database: Database
let leadership: Leadership
let dispatcher: Dispatcher
let tell = (_: string) => {}
let hintedAtMs: number[] = []
let onHint = () => {}
/** How often the dispatcher has given a connection back to the pool. */
let releases = 0
/** What receivers answer in a second, by domain. */
const answers = new Map<string, number>()

const fail = (error: Error) => expect.unreachable(error.message)

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: fail })
  leadership = openLeadership(made.url, 'dispatch', fail)
  database.engine.on('release', () => {
    releases += 1
  })
  const tenantId = nextId()
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT uuidv7(), uuidv7(), $1, 'bulk', 'mx', n || '.test', 'waiting', now() - interval '1 h', now() + interval '1 d'
     FROM generate_series(1, 1000) AS n`,
    [tenantId],
  )
  dispatcher = dispatcherOf({ rowsPerWorker: 100 })
  dispatcher.start()
  await until('all that workers may have', () => countAdmitted().then((count) => count === 75))
})
afterAll(async () => {
  await dispatcher.stop()
  await leadership.close()
  await database.close()
  await made.drop()
})

/** What it hears is told by `tell`. */
function dispatcherOf({ rowsPerWorker }: { rowsPerWorker: number }): Dispatcher {
  return createDispatcher({
    database,
    leadership,
    wake: {
      on: (_, listener) => {
        tell = listener
        return () => {}
      },
    },
    queue: { isUp: true, isByHand: false, onReconnect: () => {} },
    pace: { perSecond: (domain) => answers.get(domain) ?? 0 },
    admission: {
      hint: () => {
        hintedAtMs.push(performance.now())
        onHint()
      },
    },
    rowsPerWorker,
    onError: fail,
  })
}

const countAdmitted = async (): Promise<number> =>
  (await database.engine.query(`SELECT count(*)::int AS n FROM valija.deliveries WHERE state = 'admitted'`))
    .rows[0].n

/** A worker is done with a row, and the dispatcher hears so; again, so many times, each when there is another one in its place. */
async function finishOneByOne(times: number, payload: string): Promise<number[]> {
  hintedAtMs = []
  for (let time = 1; time <= times; time++) {
    await database.engine.query(
      `DELETE FROM valija.deliveries WHERE recipient_id = (SELECT recipient_id FROM valija.deliveries WHERE state = 'admitted' LIMIT 1)`,
    )
    const placed = Promise.withResolvers<void>()
    onHint = placed.resolve
    tell(payload)
    if (hintedAtMs.length < time) await placed.promise
  }
  return hintedAtMs.slice(1).map((at, n) => at - hintedAtMs[n]!)
}

test('what workers are done with one by one is made up for in rounds that rest for longer and longer', async () => {
  // A round that takes its time makes the pause before its end longer and the one after it shorter: what counts is what they come to.
  const pausesMs = (await finishOneByOne(16, roomPayload)).slice(-10)
  expect(pausesMs.reduce((sum, ms) => sum + ms) / pausesMs.length).toBeGreaterThan(longestRestMs * 0.8)
})

test('whoever comes new is admitted without a rest', async () => {
  await finishOneByOne(8, roomPayload)
  const pausesMs = await finishOneByOne(16, '')
  expect(Math.min(...pausesMs)).toBeLessThan(longestRestMs * 0.6)
})

test('what workers of its own process are done with it hears directly, for as long as it leads', async () => {
  const tookMs: number[] = []
  for (let time = 0; time < 5; time++) {
    // The one after the last that had room, and to its end: from here on it looks by itself only once a second.
    const seen = releases
    const { engine } = database
    // It looks what waits, and then for room.
    await until('rest', () => releases >= seen + 2 && engine.idleCount === engine.totalCount)
    hintedAtMs = []
    await database.engine.query(
      `DELETE FROM valija.deliveries WHERE recipient_id = (SELECT recipient_id FROM valija.deliveries WHERE state = 'admitted' LIMIT 1)`,
    )
    const startedMs = performance.now()
    expect(dispatcher.takeRoom()).toBe(true)
    await until('one in its place', () => hintedAtMs.length > 0)
    tookMs.push(performance.now() - startedMs)
  }
  const [, , median] = tookMs.sort((a, b) => a - b)
  expect(median).toBeLessThan(leaderBeatMs / 4)
  await leadership.resign()
  expect(dispatcher.takeRoom()).toBe(false)
})

test('a domain has a quarter of what its stream may have in flight, and what its receivers answer in half a second besides', async () => {
  const { engine } = database
  await engine.query('DELETE FROM valija.deliveries')
  const wait = (domain: string, count: number) =>
    engine.query(
      `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
       SELECT uuidv7(), uuidv7(), (SELECT id FROM valija.tenants), 'bulk', 'mx', $1, 'waiting', now() - interval '1 h', now() + interval '1 d'
       FROM generate_series(1, $2) AS n`,
      [domain, count],
    )
  const inFlight = async (domain: string): Promise<number> =>
    (
      await engine.query(
        `SELECT count(*)::int AS n FROM valija.deliveries WHERE state <> 'waiting' AND domain = $1`,
        [domain],
      )
    ).rows[0].n
  /** Rounds until it has so many, and one more, which has a row for somebody else only. */
  const expectInFlight = async (count: number, other: string) => {
    await until(`${count} in flight`, async () => {
      await engine.query(
        `UPDATE valija.deliveries SET state = 'leased', leased_until = now() + interval '30 s' WHERE state = 'admitted'`,
      )
      tell('')
      return (await inFlight('big.test')) >= count
    })
    await wait(other, 1)
    tell('')
    await until('somebody else', async () => (await inFlight(other)) === 1)
    expect(await inFlight('big.test')).toBe(count)
  }
  await wait('big.test', 1_000)
  const quarter = Math.floor(75 / 4)
  await expectInFlight(quarter, 'first.test')
  answers.set('big.test', 40).set('other.test', 1_000)
  await expectInFlight(quarter + 20, 'second.test')
})

test('tenants for whom there is not room enough take turns: a round that was carried out is charged', async () => {
  const { engine } = database
  await dispatcher.stop()
  await engine.query('DELETE FROM valija.deliveries')
  const tenants = Array.from({ length: 4 }, () => nextId())
  await engine.query(
    `INSERT INTO valija.tenants (id, name) SELECT id, id::text FROM unnest($1::uuid[]) AS id`,
    [tenants],
  )
  // One row of all these may be in flight.
  const small = dispatcherOf({ rowsPerWorker: 2 })
  await engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT uuidv7(), uuidv7(), id, 'bulk', 'mx', n || '.test', 'waiting', now() - interval '1 h', now() + interval '1 d'
     FROM unnest($1::uuid[]) AS id, generate_series(1, 10) AS n`,
    [tenants],
  )
  small.start()
  const turns: string[] = []
  while (turns.length < tenants.length) {
    const [row] = await until('one that may go', async () => {
      const { rows } = await engine.query<{ tenant: string }>(
        `DELETE FROM valija.deliveries WHERE state = 'admitted' RETURNING tenant_id AS tenant`,
      )
      return rows.length > 0 && rows
    })
    turns.push(row!.tenant)
    tell('')
  }
  await small.stop()
  expect([...turns].sort()).toEqual([...tenants].sort())
})
