/** When the sweep may take leases that ran out from those who held them: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import { type Database, openDatabase, openHintQueue, openWake, type Wake } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createSweep } from './sweep-deliveries.ts'

const nextId = createIdSource(() => Date.now())
let made: TestDatabase
let database: Database
let wake: Wake

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  wake = await openWake(made.url, () => {})
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await made.drop()
})

test('while PostgreSQL takes no results no lease is ended, and for 5 s after it: those who hold some come first', async () => {
  const tenantId = nextId()
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, domain, stream, route, state, epoch, due_at, expires_at, leased_until)
     VALUES ($1, $2, $3, 'example.org', 'transactional', 'capture', 'leased', 1, now(), now() + interval '1 hour', now() - interval '1 minute')`,
    [nextId(), nextId(), tenantId],
  )
  const queue = await openHintQueue({ redisUrl: null, databaseUrl: made.url, onError: () => {} })
  let [isHeldUp, asked] = [true, 0]
  const sweep = createSweep({
    database,
    queue,
    wake,
    log: () => {},
    onLostHints: () => {},
    isHeldUp: () => {
      asked += 1
      return isHeldUp
    },
    onError: (error) => expect.unreachable(error.message),
  })
  const state = async () => (await database.engine.query('SELECT state FROM valija.deliveries')).rows[0].state
  const startedMs = performance.now()
  sweep.start()
  // A sweep that has just started believes no lease's end for 12 s.
  await until('sweeps that would end it', () => performance.now() - startedMs > 13_000 && asked > 6)
  expect(await state()).toBe('leased')
  isHeldUp = false
  const overMs = performance.now()
  await until('the end of the lease', async () => (await state()) === 'waiting')
  expect(performance.now() - overMs).toBeGreaterThan(2_500)
  await sweep.stop()
  await queue.close()
})
