/** What the limits of the queue go by: on a real PostgreSQL. */
import { createIdSource, type Uuid } from '@valija/core'
import { type Database, openDatabase } from '@valija/store'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createQueueLimits } from './queue-limits.ts'

let target: TestDatabase
let database: Database
const nextId = createIdSource(() => Date.now())
const tenantId: Uuid = nextId()
const caller = { tenantId, queuedLimit: null }

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
})
afterAll(async () => {
  await database.close()
  await target.drop()
})
beforeEach(async () => {
  await database.engine.query('DELETE FROM valija.deliveries')
  await database.engine.query('DELETE FROM valija.queue_depth')
})

const createLimits = (perTenant: number) =>
  createQueueLimits({ database, limits: { perTenant, total: 0 }, onError: () => {} })

const fill = (rows: number) =>
  database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT gen_random_uuid(), gen_random_uuid(), $1, 'bulk', 'default', 'example.org', 'waiting', now(), now() + interval '1 day'
     FROM generate_series(1, $2)`,
    [tenantId, rows],
  )

test('whoever comes back after a quiet time is not refused from the count of before it', async () => {
  await fill(5)
  const limits = createLimits(5)
  await until('a refusal', () =>
    limits.check(caller).then(
      () => false,
      () => true,
    ),
  )
  await database.engine.query('DELETE FROM valija.deliveries')
  // By this process's clock only: PostgreSQL's count is made old beside it.
  const later = performance.now() + 10_000
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => later)
  await database.engine.query(`UPDATE valija.queue_depth SET counted_at = now() - interval '10 s'`)
  try {
    await expect(limits.check(caller)).resolves.toBeUndefined()
  } finally {
    clock.mockRestore()
  }
})

test('a count from the future, made before the clock was set back, is not believed', async () => {
  await database.engine.query(
    `INSERT INTO valija.queue_depth (counted_at, took_ms, total, tenants) VALUES (now() + interval '1 hour', 1, 9, $1)`,
    [{ [tenantId]: 9 }],
  )
  const limits = createLimits(5)
  await limits.check(caller)
  const counted = await until(
    'a count',
    async () => {
      const { rows } = await database.engine.query<{ total: number; isPast: boolean }>(
        'SELECT total, counted_at <= clock_timestamp() AS "isPast" FROM valija.queue_depth',
      )
      return rows[0]?.isPast && rows[0]
    },
    10_000,
  )
  expect(counted.total).toBe(0)
})

test('a count that cannot be had changes nothing of what is known', async () => {
  await fill(5)
  const errors: Error[] = []
  const away = openDatabase({ url: target.url, onError: () => {} })
  const limits = createQueueLimits({
    database: away,
    limits: { perTenant: 5, total: 0 },
    onError: (error) => errors.push(error),
  })
  await until('a refusal', () =>
    limits.check(caller).then(
      () => false,
      () => true,
    ),
  )
  await away.close()
  await until('an error', async () => {
    await expect(limits.check(caller)).rejects.toMatchObject({ code: 'queue_full' })
    return errors.length > 0
  })
})
