/** All of a batch or nothing, on a real PostgreSQL: whatever becomes of one of its statements. */
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { acceptBatch } from './accept-batch.ts'
import type { NewMessage } from './accept-messages.ts'
import { type Database, openDatabase } from './database.ts'
import { claimKeys } from './idempotency-keys.ts'
import { makeMessage } from './make-message.test-support.ts'

let target: TestDatabase
let database: Database
let tenantId: Uuid
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  tenantId = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

const keyed = (key: string): Partial<NewMessage> => ({
  idempotency: { key, bodyHash: Buffer.alloc(32), response: '{}', expiresAtMs: Date.now() + 3_600_000 },
})
const make = (count: number, more: (i: number) => Partial<NewMessage> = () => ({})) =>
  Array.from({ length: count }, (_, i) => ({ row: makeMessage(nextId, tenantId, more(i)) }))
const accept = (items: { row: NewMessage }[], how: object = {}, inMs = 30_000) =>
  acceptBatch(
    database.engine,
    { items, suppress: (item) => item, isStrict: true, isPatient: true, ...how },
    { directShare: 9, commitByMs: performance.now() + inMs },
  )
const countOf = async (items: { row: NewMessage }[]) => {
  const ids = items.map(({ row }) => row.id)
  const found = await database.engine.query('SELECT FROM valija.messages WHERE id = ANY ($1)', [ids])
  return found.rowCount
}

test('a statement that fails takes those before it with it', async () => {
  const items = make(450, (i) => (i === 449 ? { subject: 'a\0b' } : {}))
  await expect(accept(items)).rejects.toThrow()
  expect(await countOf(items)).toBe(0)
})

test('of many statements together no more are admitted than the share, and in order', async () => {
  const outcome = await accept(make(450))
  expect(outcome).toMatchObject({ kind: 'written', hasWaiting: true })
  expect(outcome.kind === 'written' && outcome.admitted).toHaveLength(9)
  expect(outcome.kind === 'written' && outcome.results).toHaveLength(450)
})

test('large bodies, and many recipients, go in several statements of the same commit', async () => {
  const large = make(5, () => ({ body: Buffer.alloc(3 * 1024 * 1024) }))
  expect(await accept(large)).toMatchObject({ kind: 'written' })
  expect(await countOf(large)).toBe(5)
})

test('a batch whose time is over is not kept', async () => {
  const items = make(3)
  await expect(accept(items, {}, 0)).rejects.toMatchObject({ code: 'database_unavailable' })
  expect(await countOf(items)).toBe(0)
})

test('of batches with the same keys at once, in whatever order, one is written and the others wait', async () => {
  const batches = Array.from({ length: 4 }, (_, n) => {
    const items = make(90, (i) => keyed(`storm-${i}`))
    return n % 2 ? items.reverse() : items
  })
  const outcomes = await Promise.all(batches.map((items) => accept(items)))
  const written = outcomes.filter(
    (outcome) => outcome.kind === 'written' && outcome.results.some(({ kind }) => kind === 'accepted'),
  )
  expect(written).toHaveLength(1)
  for (const outcome of outcomes) expect(['written', 'busy']).toContain(outcome.kind)
  expect((await Promise.all(batches.map(countOf))).sort()).toEqual([0, 0, 0, 90])
})

test('behind the first key that is taken none is claimed, so that who has it gets the others as well', async () => {
  const [mine, theirs] = [await database.engine.connect(), await database.engine.connect()]
  const rows = (...keys: string[]) => make(keys.length, (i) => keyed(keys[i]!)).map(({ row }) => row)
  try {
    await mine.query('BEGIN')
    await theirs.query('BEGIN')
    expect(await claimKeys(mine, rows('claim-2'), {})).toEqual([null])
    const busy = { kind: 'busy' }
    const claims = await claimKeys(theirs, rows('claim-3', 'claim-1', 'claim-2'), {}, 'untilTaken')
    expect(claims).toEqual([busy, null, busy])
    expect(await claimKeys(mine, rows('claim-3', 'claim-1'), {})).toEqual([null, busy])
  } finally {
    for (const client of [mine, theirs]) {
      await client.query('ROLLBACK')
      client.release()
    }
  }
})

test('batches with many keys have three places among them, and those with few need none', async () => {
  const holder = await database.engine.connect()
  await holder.query(
    'BEGIN; SELECT pg_advisory_xact_lock(1986095722, place) FROM generate_series(0, 2) AS place',
  )
  try {
    const many = make(101, (i) => keyed(`many-${i}`))
    expect(await accept(many)).toEqual({ kind: 'crowded' })
    expect(await countOf(many)).toBe(0)
    expect(await accept(make(100, (i) => keyed(`few-${i}`)))).toMatchObject({ kind: 'written' })
  } finally {
    await holder.query('ROLLBACK')
    holder.release()
  }
  expect(await accept(make(101, (i) => keyed(`many-${i}`)))).toMatchObject({ kind: 'written' })
})

test('a thousand keys are claimed and stored in one go', async () => {
  const items = make(1_000, (i) => keyed(`thousand-${i}`))
  expect(await accept(items)).toMatchObject({ kind: 'written' })
  const again = await accept(items)
  expect(again.kind === 'written' && again.results.every(({ kind }) => kind === 'replay')).toBe(true)
})
