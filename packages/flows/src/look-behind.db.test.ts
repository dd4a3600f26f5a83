/** Mails behind those that may not go now. */
import { createIdSource } from '@valija/core'
import { type Database, type InFlight, openDatabase } from '@valija/store'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { createLookBehind } from './look-behind.ts'

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

test('are found slice by slice, all that a slice has, and then from the front again', async () => {
  await wait('full.test', 250, 1)
  await wait('free.test', 3, 1)
  await wait('full.test', 20, 1)
  expect(await look(5)).toEqual([0, 0, 2, 1, 0])
  await wait('free.test', 1, 1)
  expect(await look(4)).toEqual([0, 0, 1, 0])
})

test('are found behind any number that are due at the same moment', async () => {
  await wait('full.test', 250, 0)
  await wait('free.test', 1, 1)
  expect(await look(4)).toEqual([0, 0, 1, 0])
})

test('a look is followed by a rest', async () => {
  await wait('full.test', 250, 1)
  const behind = createLookBehind(100)
  expect(behind.isDue()).toBe(true)
  await behind.admit(database.engine, [quota], inFlight)
  expect(behind.isDue()).toBe(false)
  await expect.poll(() => behind.isDue()).toBe(true)
})
