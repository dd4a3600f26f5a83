/** How the dispatcher's rounds follow one another while a backlog waits: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import { type Database, type Leadership, openDatabase, openLeadership } from '@valija/store'
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

const fail = (error: Error) => expect.unreachable(error.message)

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: fail })
  leadership = openLeadership(made.url, 'dispatch', fail)
  const tenantId = nextId()
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT uuidv7(), uuidv7(), $1, 'bulk', 'mx', n || '.test', 'waiting', now() - interval '1 h', now() + interval '1 d'
     FROM generate_series(1, 1000) AS n`,
    [tenantId],
  )
  dispatcher = createDispatcher({
    database,
    leadership,
    wake: {
      on: (_, listener) => {
        tell = listener
        return () => {}
      },
    },
    queue: { isUp: true, isByHand: false, onReconnect: () => {} },
    admission: { hint: () => void hintedAtMs.push(performance.now()) },
    rowsPerWorker: 100,
    onError: fail,
  })
  dispatcher.start()
  await until('all that workers may have', () => countAdmitted().then((count) => count === 75))
})
afterAll(async () => {
  await dispatcher.stop()
  await leadership.close()
  await database.close()
  await made.drop()
})

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
    tell(payload)
    await until('one in its place', () => hintedAtMs.length >= time)
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
  hintedAtMs = []
  await database.engine.query(
    `DELETE FROM valija.deliveries WHERE recipient_id = (SELECT recipient_id FROM valija.deliveries WHERE state = 'admitted' LIMIT 1)`,
  )
  expect(dispatcher.takeRoom()).toBe(true)
  await until('one in its place', () => hintedAtMs.length > 0)
  await leadership.resign()
  expect(dispatcher.takeRoom()).toBe(false)
})
