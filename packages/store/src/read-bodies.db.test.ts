/** Reading stored bodies, small and large. */
import { randomBytes } from 'node:crypto'
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { readBodies } from './read-bodies.ts'

const nextId = createIdSource(Date.now)
let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

async function store(length: number): Promise<{ id: Uuid; content: Buffer }> {
  const [id, content] = [nextId(), randomBytes(length)]
  await database.engine.query(
    'INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $2, $3)',
    [id, nextId(), content],
  )
  return { id, content }
}

test('bodies of all sizes are read together, up to the size that is asked for', async () => {
  const stored = await Promise.all([10, 16_384, 16_385, 200_000, 262_144, 262_145].map(store))
  const ids = stored.map(({ id }) => id).reverse()
  const bodies = await readBodies(database.engine, [...ids, nextId()], 262_144)
  expect(bodies.size).toBe(stored.length)
  for (const { id, content } of stored) {
    const isAskedFor = content.length <= 262_144
    expect(bodies.get(id)).toEqual({ sizeBytes: content.length, content: isAskedFor ? content : null })
  }
})

test('one alone is read however large it is', async () => {
  const { id, content } = await store(5_000_000)
  const bodies = await readBodies(database.engine, [id], Number.POSITIVE_INFINITY)
  expect(bodies.get(id)?.content?.equals(content)).toBe(true)
})
