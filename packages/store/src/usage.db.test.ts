/** What is drawn from limits of usage, over several processes' pools, on a real PostgreSQL. */
import { createIdSource, type UsageLimit, type UsageLimitName } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { asProductError } from './database-errors.ts'
import { type DrawResult, drawUsage, forgetOldUsage, giveBackUsage, type Take } from './usage.ts'

/** For a row that others have, on a busy machine. */
const patienceMs = 10_000
const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let target: TestDatabase
/** As four processes have them. */
let databases: Database[]
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  databases = Array.from({ length: 4 }, () => openDatabase({ url: target.url, onError: () => undefined }))
  database = databases[0]!
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
})
afterAll(async () => {
  await Promise.all(databases.map((each) => each.close()))
  await target.drop()
})

const limitOf = (name: UsageLimitName, value: number, ownerId = nextId()): UsageLimit => ({
  of: 'key',
  ownerId,
  name,
  value,
})
const take = (limit: UsageLimit, amount = 1, emailKey = ''): Take => ({ limit, emailKey, amount })
const drawFrom = async (of: Database, ...takes: Take[]): Promise<DrawResult> => {
  const { results } = await drawUsage(of, [{ tenantId, takes }], patienceMs)
  return results[0]!
}
const draw = (...takes: Take[]) => drawFrom(database, ...takes)
const usedOf = async ({ ownerId, name }: UsageLimit) => {
  const { rows } = await database.engine.query<{ used: number }>(
    'SELECT used FROM valija.usage WHERE owner_id = $1 AND name = $2',
    [ownerId, name],
  )
  return rows[0]?.used ?? null
}

test('a quota is used to the last, and not beyond, by four processes at once', async () => {
  const [day, minute] = [limitOf('recipients_per_day', 300), limitOf('recipients_per_minute', 250)]
  // Not so many that the last of them waits longer for a connection than the product does.
  const clients = Array.from({ length: 40 }, async (_, client) => {
    const mine: string[] = []
    // Half of them name the two limits in the other order.
    const takes = client % 2 === 0 ? [take(day), take(minute)] : [take(minute), take(day)]
    for (let i = 0; i < 13; i++) mine.push((await drawFrom(databases[client % 4]!, ...takes)).kind)
    return mine
  })
  const kinds = (await Promise.all(clients)).flat()
  expect(kinds.filter((kind) => kind === 'drawn')).toHaveLength(250)
  expect(await usedOf(minute)).toBe(250)
  expect(await usedOf(day)).toBe(250)
})

test('all of a draw is taken or nothing, and it is refused by the limit that lasts longest', async () => {
  const [minute, month] = [limitOf('recipients_per_minute', 5), limitOf('recipients_per_month', 7)]
  expect(await draw(take(minute, 4), take(month, 4))).toMatchObject({ kind: 'drawn' })
  const refused = await draw(take(minute, 4), take(month, 4))
  const states = [
    { name: 'recipients_per_minute', value: 5, left: 1 },
    { name: 'recipients_per_month', value: 7, left: 3 },
  ]
  // In the last minute of a month that is the other one.
  const [endOfMinute, endOfMonth] = refused.states.map(({ resetAtMs }) => resetAtMs) as [number, number]
  expect(refused).toMatchObject({ kind: 'refused', states, by: states[endOfMinute < endOfMonth ? 1 : 0]! })
  expect(await usedOf(minute)).toBe(4)
  expect(await draw(take(minute, 1), take(month, 1))).toMatchObject({
    kind: 'drawn',
    states: [{ left: 0 }, { left: 2 }],
  })
})

test('draws that go together are judged one after the other', async () => {
  const limit = limitOf('recipients_per_hour', 5)
  const draws = [3, 3, 2, 1].map((amount) => ({ tenantId, takes: [take(limit, amount)] }))
  const { results } = await drawUsage(database, draws, patienceMs)
  expect(results.map(({ kind }) => kind)).toEqual(['drawn', 'refused', 'drawn', 'refused'])
})

test('each address has its own', async () => {
  const limit = limitOf('recipients_per_hour_to_one_address', 1)
  expect((await draw(take(limit, 1, 'ann@b.test'))).kind).toBe('drawn')
  expect((await draw(take(limit, 1, 'bob@b.test'))).kind).toBe('drawn')
  const both = await draw(take(limit, 1, 'eve@b.test'), take(limit, 1, 'ann@b.test'))
  expect(both).toMatchObject({ kind: 'refused', by: { emailKey: 'ann@b.test' } })
  expect((await draw(take(limit, 1, 'eve@b.test'))).kind).toBe('drawn')
})

const end = ({ ownerId }: UsageLimit) =>
  database.engine.query(`UPDATE valija.usage SET ends_at = now() - interval '1 ms' WHERE owner_id = $1`, [
    ownerId,
  ])

test('a window that is over begins anew, and what is given back late is not given to the next', async () => {
  const limit = limitOf('requests_per_minute', 2)
  const first = await draw(take(limit, 2))
  expect((await draw(take(limit))).kind).toBe('refused')
  await end(limit)
  expect(await draw(take(limit))).toMatchObject({ kind: 'drawn', states: [{ left: 1 }] })
  await giveBackUsage(database, tenantId, [{ ...take(limit, 2), resetAtMs: first.states[0]!.resetAtMs }])
  expect(await usedOf(limit)).toBe(1)
})

test('a window that ends later than it could was begun by a clock that was ahead, and is over', async () => {
  for (const name of ['recipients_per_minute', 'recipients_per_day'] as const) {
    const limit = limitOf(name, 2)
    const { states } = await draw(take(limit, 2))
    await database.engine.query(
      `UPDATE valija.usage SET ends_at = ends_at + interval '1 day' WHERE owner_id = $1`,
      [limit.ownerId],
    )
    const anew = await draw(take(limit))
    expect(anew).toMatchObject({ kind: 'drawn', states: [{ left: 1 }] })
    expect(anew.states[0]!.resetAtMs).toBeLessThan(states[0]!.resetAtMs + 3_600_000)
  }
})

test('what was not accepted is given back', async () => {
  const limit = limitOf('recipients_per_day', 2)
  const { states } = await draw(take(limit, 2))
  await giveBackUsage(database, tenantId, [{ ...take(limit, 1), resetAtMs: states[0]!.resetAtMs }])
  expect(await draw(take(limit))).toMatchObject({ kind: 'drawn', states: [{ left: 0 }] })
})

test('a day ends at midnight and a month with its last day, by PostgreSQL’s clock in UTC', async () => {
  const states = (
    await draw(take(limitOf('recipients_per_day', 1)), take(limitOf('recipients_per_month', 1)))
  ).states
  const { rows } = await database.engine.query<{ day: Date; month: Date }>(
    `SELECT date_trunc('day', now()) + interval '1 day' AS day, date_trunc('month', now()) + interval '1 month' AS month`,
  )
  expect(states.map(({ resetAtMs }) => resetAtMs)).toEqual([rows[0]!.day.getTime(), rows[0]!.month.getTime()])
})

test('that a quota is used up is told once in its period', async () => {
  const limit = limitOf('recipients_per_day', 4)
  for (let i = 0; i < 6; i++) await draw(take(limit))
  const told = async () => {
    const { rows } = await database.engine.query(
      `SELECT data FROM valija.events WHERE type = 'quota.reached' AND data ->> 'value' = '4' ORDER BY id`,
    )
    return rows.map(({ data }) => data)
  }
  expect(await told()).toMatchObject([{ limit: 'recipients_per_day', of: 'key', value: 4, used: 4 }])
  await end(limit)
  for (let i = 0; i < 5; i++) await draw(take(limit))
  expect(await told()).toHaveLength(2)
})

test('windows that are over are forgotten, others are not', async () => {
  const [old, present] = [limitOf('requests_per_second', 1), limitOf('recipients_per_month', 1)]
  await draw(take(old), take(present))
  await end(old)
  expect(await forgetOldUsage(database.engine)).toBeGreaterThan(0)
  expect(await usedOf(old)).toBeNull()
  expect(await usedOf(present)).toBe(1)
})

test('a process that stops in the middle of a draw keeps its rows no longer than seconds, and hears that nothing was drawn', async () => {
  const limit = limitOf('recipients_per_day', 5)
  await draw(take(limit))
  let looks = 0
  const stopping = {
    tenantId,
    get takes() {
      // First for the names of its rows, then, when they are locked, for what is to be drawn.
      looks += 1
      if (looks === 2) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6_000)
      return [take(limit)]
    },
  }
  const failure = await drawUsage(database, [stopping], patienceMs).catch((error: unknown) => error)
  expect(asProductError(failure)).toMatchObject({ code: 'database_unavailable' })
  expect(await usedOf(limit)).toBe(1)
})
