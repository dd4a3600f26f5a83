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
  await database.engine.query('UPDATE valija.tenants SET suspended_at = NULL, bulk_paused_at = NULL')
})

const createLimits = (perTenant: number, total = 0) =>
  createQueueLimits({ database, limits: { perTenant, total }, onError: () => {} })
const refusalOf = (check: Promise<void>) =>
  check.then(
    () => null,
    ({ code, detail }: { code: string; detail: string }) => ({ code, detail }),
  )

const fill = (rows: number, stream = 'bulk') =>
  database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
     SELECT gen_random_uuid(), gen_random_uuid(), $1, $3, 'default', 'example.org', 'waiting', now(), now() + interval '1 day'
     FROM generate_series(1, $2)`,
    [tenantId, rows, stream],
  )

test('whoever comes back after a quiet time is not refused from the count of before it', async () => {
  await fill(5)
  const limits = createLimits(5)
  await until('a refusal', () =>
    limits.check(caller, 'bulk').then(
      () => false,
      () => true,
    ),
  )
  await database.engine.query('DELETE FROM valija.deliveries')
  // By this process's clock only: PostgreSQL's count is made old beside it.
  const later = performance.now() + 10_000
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => later)
  await database.engine.query(
    `UPDATE valija.queue_depth SET counted_at = now() - interval '10 s', took_ms = 1`,
  )
  try {
    await expect(limits.check(caller, 'bulk')).resolves.toBeUndefined()
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
  await limits.check(caller, 'bulk')
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
    limits.check(caller, 'bulk').then(
      () => false,
      () => true,
    ),
  )
  await away.close()
  await until('an error', async () => {
    await expect(limits.check(caller, 'bulk')).rejects.toMatchObject({ code: 'queue_full' })
    return errors.length > 0
  })
})

test('bulk mail that is held refuses more bulk mail, and neither transactional mail nor anybody else’s', async () => {
  await fill(5)
  await database.engine.query('UPDATE valija.tenants SET bulk_paused_at = now()')
  const limits = createLimits(5, 5)
  const refusal = await until('a refusal', () => refusalOf(limits.check(caller, 'bulk')))
  expect(refusal).toMatchObject({ code: 'queue_full' })
  expect(refusal?.detail).toContain('is held until the operator lets it go: about 5 recipients')
  expect(await refusalOf(limits.check(caller, 'transactional'))).toBeNull()
  expect(await refusalOf(limits.check({ ...caller, tenantId: nextId() }, 'bulk'))).toBeNull()
  // What this process accepts meanwhile is known at once, each where it belongs.
  limits.note(tenantId, 'bulk', 3)
  expect(await refusalOf(limits.check(caller, 'transactional'))).toBeNull()
  const full = await until('a refusal', () => {
    limits.note(tenantId, 'transactional', 5)
    return refusalOf(limits.check(caller, 'transactional'))
  })
  expect(full.code).toBe('queue_full')
})

test('held bulk mail has the tenant’s limit together with what else of it waits', async () => {
  await fill(3)
  await fill(2, 'transactional')
  await database.engine.query('UPDATE valija.tenants SET bulk_paused_at = now()')
  const limits = createLimits(5)
  const refusal = await until('a refusal', () => refusalOf(limits.check(caller, 'bulk')))
  expect(refusal.detail).toContain(
    'about 3 recipients wait for that, and 2 to be sent to, and 5 may together',
  )
  expect(await refusalOf(limits.check(caller, 'transactional'))).toBeNull()
})

test('what a suspended tenant has waiting keeps nobody from sending', async () => {
  await fill(5)
  await database.engine.query('UPDATE valija.tenants SET suspended_at = now()')
  const limits = createLimits(0, 5)
  const counted = () =>
    database.engine
      .query<{ total: number }>('SELECT total FROM valija.queue_depth')
      .then(({ rows }) => rows[0])
  await limits.check(caller, 'bulk')
  expect((await until('the count', counted)).total).toBe(0)
  expect(await refusalOf(limits.check({ ...caller, tenantId: nextId() }, 'transactional'))).toBeNull()
})
