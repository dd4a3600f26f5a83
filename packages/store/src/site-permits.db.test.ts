/** Places and slots of receiving sites, as PostgreSQL counts them. */
import { createIdSource } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { drawSlots, exchangePermits } from './site-permits.ts'

let database: Database
let drop: () => Promise<void>
const newId = createIdSource(Date.now)

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await drop()
})

let count = 0
/** A site of its own for workers `a`, `b` and `c`. */
function site(limit: number) {
  const scopeKey = `site ${++count}`
  const ids = { a: newId(), b: newId(), c: newId() }
  return async (worker: keyof typeof ids, held: number, wanted: number) => {
    const answers = await exchangePermits(database.engine, ids[worker], [{ scopeKey, held, wanted, limit }])
    return answers.get(scopeKey)!
  }
}

describe('places', () => {
  test('of a worker that was silent for too long are others’ by the time it speaks again', async () => {
    const ask = site(3)
    await ask('a', 0, 3)
    await database.engine.query(
      `UPDATE valija.shaping_permits SET valid_until = now() - interval '1 second' WHERE scope_key = $1`,
      [`site ${count}`],
    )
    expect(await ask('b', 0, 3)).toEqual({ granted: 3, rivals: 0, waiting: 0, kept: true })
    expect(await ask('a', 3, 0)).toMatchObject({ granted: 0, kept: false })
    expect(await ask('b', 3, 1)).toMatchObject({ granted: 0, kept: true })
  })

  test('go to whoever asks, as many as there are', async () => {
    const ask = site(5)
    expect(await ask('a', 0, 3)).toEqual({ granted: 3, rivals: 0, waiting: 0, kept: true })
    expect(await ask('b', 0, 3)).toEqual({ granted: 2, rivals: 1, waiting: 0, kept: true })
    expect(await ask('c', 0, 1)).toEqual({ granted: 0, rivals: 2, waiting: 0, kept: true })
    expect(await ask('a', 3, 0)).toEqual({ granted: 0, rivals: 2, waiting: 1, kept: true })
  })

  test('that come free go to whoever has none and was refused before', async () => {
    const ask = site(2)
    await ask('a', 0, 2)
    await ask('b', 0, 1)
    await ask('c', 0, 1)
    await ask('a', 1, 0)
    expect((await ask('c', 0, 1)).granted).toBe(0)
    expect((await ask('a', 1, 1)).granted).toBe(0)
    expect((await ask('b', 0, 1)).granted).toBe(1)
  })

  test('are not asked back by a worker that has its equal part', async () => {
    const ask = site(3)
    await ask('a', 0, 2)
    expect(await ask('b', 0, 2)).toMatchObject({ granted: 1 })
    expect((await ask('b', 1, 1)).granted).toBe(0)
    expect(await ask('a', 2, 0)).toEqual({ granted: 0, rivals: 1, waiting: 0, kept: true })
  })

  test('that are given back leave nothing behind', async () => {
    const ask = site(1)
    await ask('a', 0, 1)
    await ask('a', 0, 0)
    expect(await ask('b', 0, 1)).toEqual({ granted: 1, rivals: 0, waiting: 0, kept: true })
  })

  test('are asked for at many sites by many workers at once without waiting in a circle', async () => {
    const keys = Array.from({ length: 20 }, (_, i) => `many ${i}`)
    const workers = [newId(), newId(), newId(), newId()]
    const answers = await Promise.all(
      workers.flatMap((worker, turn) =>
        Array.from({ length: 5 }, () => {
          const order = turn % 2 === 0 ? keys : keys.toReversed()
          const requests = order.map((scopeKey) => ({ scopeKey, held: 0, wanted: 1, limit: 3 }))
          return exchangePermits(database.engine, worker, requests)
        }),
      ),
    )
    expect(answers.every((answer) => answer.size === 20)).toBe(true)
    const { rows } = await database.engine.query(
      `SELECT scope_key, sum(connections)::int AS sum FROM valija.shaping_permits WHERE scope_key LIKE 'many %' GROUP BY 1`,
    )
    for (const { sum } of rows) expect(sum).toBeLessThanOrEqual(3)
  })
})

describe('slots', () => {
  const draw = async (scopeKey: string, slots: number, spacingMs: number, horizonMs = 500) =>
    (await drawSlots(database.engine, [{ scopeKey, count: slots, spacingMs }], horizonMs)).get(scopeKey)!

  test('follow one another by the spacing, whoever draws', async () => {
    // Far apart: on a busy machine, slots that come soon may be over by the second draw.
    const first = await draw('a', 4, 10_000, 60_000)
    expect(first.drawn).toBe(4)
    expect((await draw('a', 1, 10_000, 60_000)).firstMs).toBeCloseTo(first.firstMs + 40_000, 0)
    const many = await Promise.all(Array.from({ length: 10 }, () => draw('b', 1, 20)))
    const sorted = many.map(({ firstMs }) => firstMs).sort((x, y) => x - y)
    for (const [i, at] of sorted.entries()) if (i > 0) expect(at - sorted[i - 1]!).toBeGreaterThan(19.9)
  })

  test('beyond the horizon are told and not taken', async () => {
    const first = await draw('c', 1, 60_000)
    for (let i = 0; i < 3; i++) {
      const next = await draw('c', 1, 60_000)
      expect(next.drawn).toBe(0)
      expect(next.firstMs).toBeCloseTo(first.firstMs + 60_000, 0)
    }
  })

  test('are never in the past', async () => {
    await draw('d', 1, 1)
    await database.engine.query(
      `UPDATE valija.shaping_rates SET next_slot = now() - interval '1 hour' WHERE scope_key = 'd'`,
    )
    const { rows } = await database.engine.query<{ now: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    )
    expect((await draw('d', 1, 1)).firstMs).toBeGreaterThanOrEqual(rows[0]!.now - 1)
  })
})
