/** What becomes of suspects, by what becomes of the processes that have them. The cells here end as the test says. */
import { createIdSource, mostGivenUp, type Uuid } from '@valija/core'
import { type Database, type LeasedDelivery, openDatabase, openWake, type Wake } from '@valija/store'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createGiveBackDesk } from './give-back.ts'
import { createHeldLeases, type HeldLeases } from './held-leases.ts'
import { type CellOutcome, createIsolation, type Isolation } from './isolate-suspects.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let testDatabase: TestDatabase
let database: Database
let wake: Wake
let leases: HeldLeases
let isolation: Isolation
let trouble: Error[]
let givenUp: { recipientId: Uuid; cells: number }[]

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  wake = await openWake(testDatabase.url, () => {})
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
beforeEach(() => {
  trouble = []
  givenUp = []
  leases = createHeldLeases(database, () => {})
})
afterEach(async () => {
  isolation.stop()
  await isolation.drain()
  leases.stop()
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await testDatabase.drop()
})

/** Isolation whose cells end so. */
function begin(deliver: (delivery: LeasedDelivery) => Promise<CellOutcome>): void {
  const onError = (error: Error) => void trouble.push(error)
  const { signal } = new AbortController()
  isolation = createIsolation({
    database,
    leases,
    backDesk: createGiveBackDesk({ database, wake, leases, hurried: signal, onError }),
    openCell: async () => ({ deliver, hurry: () => {}, close: async () => {} }),
    giveUp: ({ recipientId }, lease, { cells }) => {
      givenUp.push({ recipientId, cells })
      leases.drop(lease)
    },
    stopping: signal,
    onError,
  })
}

/** A suspect comes, leased by us. */
async function take(expiresAt = new Date(Date.now() + 3_600_000)): Promise<Uuid> {
  const [recipientId, messageId] = [nextId(), nextId()]
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, domain, stream, route, state, epoch, crashes, due_at, expires_at, leased_until)
     VALUES ($1, $2, $3, 'example.org', 'transactional', 'capture', 'leased', 1, 3, now(), $4, now() + interval '1 hour')`,
    [recipientId, messageId, tenantId, expiresAt],
  )
  const delivery = { recipientId, messageId, tenantId, epoch: 1, crashes: 3, atMostOnce: false, expiresAt }
  isolation.take(delivery as LeasedDelivery, leases.add(delivery as LeasedDelivery, performance.now()))
  return recipientId
}

interface Row {
  state: string
  crashes: number
  hold: string | null
  waitsMs: number
}

async function read(recipientId: Uuid): Promise<Row> {
  const { rows } = await database.engine.query<Row>(
    `SELECT state, crashes, hold, (extract(epoch FROM due_at - now()) * 1000)::float8 AS "waitsMs"
     FROM valija.deliveries WHERE recipient_id = $1`,
    [recipientId],
  )
  return rows[0]!
}

const untilGivenBack = (recipientId: Uuid) =>
  until('the mail is given back', async () => {
    const row = await read(recipientId)
    return row.state === 'waiting' ? row : null
  })

test('a process that is ended from outside is not the mail’s doing: it waits for a while, and never fails', async () => {
  begin(async () => 'stopped')
  const row = await untilGivenBack(await take())
  expect(row).toMatchObject({ crashes: 4, hold: 'crashes:' })
  // 10 s, less what this machine has taken since.
  expect(row.waitsMs).toBeLessThanOrEqual(10_250)
  expect(givenUp).toEqual([])
})

test('a mail that two processes in a row crash with is given up', async () => {
  begin(async () => 'crashed')
  const recipientId = await take()
  await until('it is given up', () => givenUp.length > 0)
  expect(givenUp).toEqual([{ recipientId, cells: 2 }])
})

test('when many crash none is given up any more: they wait, and the log says so', async () => {
  begin(async () => 'hung')
  for (let mail = 0; mail < mostGivenUp; mail += 1) await take()
  await until('as many as may be are given up', () => givenUp.length === mostGivenUp)
  await untilGivenBack(await take())
  expect(givenUp).toHaveLength(mostGivenUp)
  expect(trouble.map(({ message }) => message)).toEqual([expect.stringMatching(/suspects wait/)])
})

test('one that stands in a tarpit holds up nobody who waits behind it, and who waits too long is given back', async () => {
  const { promise: tarpit, resolve: leave } = Promise.withResolvers<CellOutcome>()
  const begun: Uuid[] = []
  begin(({ recipientId }) => {
    begun.push(recipientId)
    return tarpit
  })
  const both = [await take(), await take()]
  await until('two are under way', () => begun.length === 2)
  expect(new Set(begun)).toEqual(new Set(both))
  const over = await take(new Date(Date.now() - 1))
  isolation.giveBackIf(({ expiresAt }) => expiresAt.getTime() <= Date.now())
  expect(await untilGivenBack(over)).toMatchObject({ crashes: 3, hold: null })
  leave('done')
})
