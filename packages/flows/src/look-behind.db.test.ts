/** Mails behind those that may not go now. */
import { createIdSource } from '@valija/core'
import { type Database, type InFlight, openDatabase } from '@valija/store'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { admitOldest, createLookBehind } from './look-behind.ts'

const tenantId = createIdSource(Date.now)()
let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'one')`, [tenantId])
})
beforeEach(() => database.engine.query('DELETE FROM valija.deliveries'))
afterAll(async () => {
  await database.close()
  await target.drop()
})

/** So many that are due, one every `stepMs` from an hour ago on, behind what is there. */
const wait = (domain: string, count: number, stepMs: number) =>
  database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT uuidv7(), uuidv7(), $1, 'bulk', 'mx', $2, 'waiting', first + nth * $4 * interval '1 ms', now() + interval '1 d'
     FROM (SELECT coalesce(max(due_at), now() - interval '1 h') AS first FROM valija.deliveries) AS known, generate_series(1, $3) AS nth`,
    [tenantId, domain, count, stepMs],
  )

/** `full.test` has all it may have. */
const quota = { tenantId, stream: 'bulk' as const, count: 2, perDomain: 5 }
const inFlight: InFlight[] = [{ tenantId, stream: 'bulk', domain: 'full.test', admitted: 5, leased: 0 }]

async function look(times: number): Promise<number[]> {
  const behind = createLookBehind(100)
  const found: number[] = []
  for (let time = 0; time < times; time += 1)
    found.push((await behind.admit(database.engine, [quota], inFlight)).length)
  return found
}

test('are found slice by slice, more than once where there are many, and then from the front again', async () => {
  await wait('full.test', 250, 1)
  await wait('free.test', 3, 1)
  await wait('full.test', 20, 1)
  expect(await look(5)).toEqual([0, 0, 2, 1, 0])
  await wait('free.test', 1, 1)
  expect(await look(4)).toEqual([0, 0, 1, 0])
})

test('are found also behind a slice of a domain that has a place for one each time', async () => {
  await wait('slow.test', 150, 1)
  await wait('free.test', 1, 1)
  const behind = createLookBehind(100)
  const slow = { tenantId, stream: 'bulk' as const, domain: 'slow.test', admitted: 4, leased: 0 }
  const found: number[] = []
  for (let time = 0; time < 3; time += 1)
    found.push((await behind.admit(database.engine, [quota], [slow])).length)
  // One of the slow domain each time, and behind the first slice the other one.
  expect(found).toEqual([1, 2, 1])
})

test('and behind one that has enough each time, after a few looks', async () => {
  await wait('free.test', 250, 1)
  const behind = createLookBehind(100)
  const dueOf = async (recipientId: string) => {
    const { rows } = await database.engine.query<{ dueAt: Date }>(
      'SELECT due_at AS "dueAt" FROM valija.deliveries WHERE recipient_id = $1',
      [recipientId],
    )
    return rows[0]!.dueAt.getTime()
  }
  const dues: number[] = []
  for (let time = 0; time < 5; time += 1) {
    const [row] = await behind.admit(database.engine, [quota], inFlight)
    dues.push(await dueOf(row!.recipientId))
  }
  expect(dues[3]! - dues[0]!).toBeLessThan(20)
  expect(dues[4]! - dues[0]!).toBeGreaterThan(90)
})

test('of many streams the looks share a slice', async () => {
  await wait('full.test', 150, 1)
  await wait('free.test', 1, 1)
  const behind = createLookBehind(100)
  const quotas = [quota, { ...quota, stream: 'transactional' as const }]
  const found: number[] = []
  for (let time = 0; time < 4; time += 1)
    found.push((await behind.admit(database.engine, quotas, inFlight)).length)
  expect(found).toEqual([0, 0, 0, 1])
})

test('are found behind any number that are due at the same moment', async () => {
  await wait('full.test', 250, 0)
  await wait('free.test', 1, 1)
  expect(await look(4)).toEqual([0, 0, 1, 0])
})

test('are found also while another stream has mail that may go', async () => {
  await wait('full.test', 60, 1)
  await wait('free.test', 1, 1)
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT uuidv7(), uuidv7(), $1, 'transactional', 'mx', 'other.test', 'waiting', now() - interval '1 s', now() + interval '1 d' FROM generate_series(1, 2)`,
    [tenantId],
  )
  const quotas = [quota, { ...quota, stream: 'transactional' as const }]
  const admitted = await admitOldest(createLookBehind(), database.engine, quotas, inFlight)
  expect(admitted.map(({ stream }) => stream).sort()).toEqual(['bulk', 'transactional', 'transactional'])
})

test('a look is followed by a rest', async () => {
  await wait('full.test', 250, 1)
  const behind = createLookBehind(100)
  expect(behind.isDue()).toBe(true)
  await behind.admit(database.engine, [quota], inFlight)
  expect(behind.isDue()).toBe(false)
  await expect.poll(() => behind.isDue()).toBe(true)
})
