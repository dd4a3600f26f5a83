/**
 * Results are not forgotten, whatever PostgreSQL answers: a server that only reads for a while is what a failover looks like.
 */
import { createIdSource, createMailLog, type Uuid } from '@valija/core'
import {
  type Database,
  type LeasedDelivery,
  openDatabase,
  openWake,
  type Settlement,
  type Wake,
} from '@valija/store'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createHeldLeases, type HeldLeases } from './held-leases.ts'
import { discard } from './judge-attempt.ts'
import { createSettleDesk } from './settle-desk.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const log = createMailLog(() => {})
let testDatabase: TestDatabase
let database: Database
let wake: Wake
let leases: HeldLeases
let trouble: (Error & { code?: string })[]

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  wake = await openWake(testDatabase.url, () => {})
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
  leases = createHeldLeases(database, () => {})
})
beforeEach(() => {
  trouble = []
})
afterAll(async () => {
  leases.stop()
  await wake.close()
  await database.close()
  await testDatabase.drop()
})

const openDesk = (engine = database.engine) =>
  createSettleDesk({
    ...{ database: { ...database, engine }, wake, mailLog: log, leases },
    onError: (error) => void trouble.push(error),
  })

const databaseName = () => new URL(testDatabase.url).pathname.slice(1)

async function administer(url: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  for (const statement of statements) await client.query(statement)
  await client.end()
}

/** New sessions can only read, or write again; those that are open are thrown out, and gone when this ends. */
const setReadOnly = (isReadOnly: boolean): Promise<void> =>
  administer(
    inject('clusterUrl'),
    `ALTER DATABASE ${databaseName()} SET default_transaction_read_only = ${isReadOnly}`,
    `SELECT pg_terminate_backend(pid, 10_000) FROM pg_stat_activity WHERE datname = '${databaseName()}'`,
  )

/** A row in hand, and the settlement that ends it. */
async function take(): Promise<[LeasedDelivery, Settlement]> {
  const recipientId: Uuid = nextId()
  const messageId: Uuid = nextId()
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, domain, stream, route, state, epoch, due_at, expires_at, leased_until)
     VALUES ($1, $2, $3, 'example.org', 'transactional', 'capture', 'leased', 1, now(), now() + interval '1 hour', now() + interval '1 hour')`,
    [recipientId, messageId, tenantId],
  )
  const delivery = { recipientId, messageId, tenantId, epoch: 1, attempts: 0, retrySteps: 0, seq: 1 }
  return [delivery as LeasedDelivery, discard(delivery as LeasedDelivery)]
}

const countRows = async () =>
  (await database.engine.query('SELECT count(*)::int AS count FROM valija.deliveries')).rows[0].count

test('a result that comes while the server only reads is committed when it writes again', async () => {
  const desk = openDesk()
  const [delivery, settlement] = await take()
  await setReadOnly(true)
  desk.settle(delivery, leases.add({ ...delivery, epoch: 1 }, performance.now()), settlement)
  await until('PostgreSQL refuses to write', () => trouble.some(({ code }) => code === '25006'))
  expect(leases.size).toBe(1)
  await setReadOnly(false)
  await desk.drain()
  expect(await countRows()).toBe(0)
  expect(leases.size).toBe(0)
})

test('a failure that nobody foresaw is waited out as well', async () => {
  const desk = openDesk()
  const [delivery, settlement] = await take()
  await administer(testDatabase.url, 'REVOKE DELETE ON valija.deliveries FROM valija_engine')
  desk.settle(delivery, leases.add({ ...delivery, epoch: 1 }, performance.now()), settlement)
  await until('PostgreSQL refuses', () => trouble.some(({ code }) => code === '42501'))
  await administer(testDatabase.url, 'GRANT DELETE ON valija.deliveries TO valija_engine')
  await desk.drain()
  expect(await countRows()).toBe(0)
})

test('a desk that is hurried waits for nothing', async () => {
  const desk = openDesk()
  const [delivery, settlement] = await take()
  await setReadOnly(true)
  desk.settle(delivery, leases.add({ ...delivery, epoch: 1 }, performance.now()), settlement)
  await until('PostgreSQL refuses to write', () => trouble.some(({ code }) => code === '25006'))
  desk.hurry()
  await desk.drain()
  expect(leases.size).toBe(0)
  await setReadOnly(false)
  // The pool may still have a session that was thrown out.
  const rows = await until('an answer', async () => ({ count: await countRows() }))
  expect(rows).toEqual({ count: 1 })
})

test('who asks is told that a result is settled once it is committed, and only if the mail was still ours', async () => {
  const desk = openDesk()
  const [[ours, settlement], [lost, late]] = [await take(), await take()]
  await database.engine.query('UPDATE valija.deliveries SET epoch = 2 WHERE recipient_id = $1', [
    lost.recipientId,
  ])
  const told: Uuid[] = []
  for (const [delivery, result] of [
    [ours, settlement],
    [lost, late],
  ] as const) {
    const lease = leases.add({ ...delivery, epoch: 1 }, performance.now())
    desk.settle(delivery, lease, { ...result, isFact: false }, undefined, () => {
      told.push(delivery.recipientId)
    })
  }
  expect(told).toEqual([])
  await desk.drain()
  expect(told).toEqual([ours.recipientId])
  await database.engine.query('DELETE FROM valija.deliveries WHERE recipient_id = $1', [lost.recipientId])
})

describe('one result that takes too long', () => {
  /** Of PostgreSQL, and of whoever waits for it. */
  const openImpatient = (statementMs: number, queryMs: number) => {
    const options = `-c role=valija_engine -c statement_timeout=${statementMs}`
    const pool = new pg.Pool({ connectionString: testDatabase.url, options, query_timeout: queryMs })
    pool.on('error', () => {})
    return pool
  }
  const slowDown = (recipientId: Uuid) =>
    administer(
      testDatabase.url,
      `CREATE FUNCTION public.take_long() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN OLD; END'`,
      `CREATE TRIGGER take_long BEFORE DELETE ON valija.deliveries FOR EACH ROW
       WHEN (OLD.recipient_id = '${recipientId}') EXECUTE FUNCTION public.take_long()`,
    )
  const speedUp = () => administer(testDatabase.url, 'DROP FUNCTION public.take_long CASCADE')

  test.each([
    ['PostgreSQL ends the statement', 500, 10_000],
    ['nobody waits for its answer', 800, 400],
  ])('holds up no other: %s', async (_, statementMs, queryMs) => {
    await database.engine.query('DELETE FROM valija.deliveries')
    const engine = openImpatient(statementMs, queryMs)
    const desk = openDesk(engine)
    const results = await Promise.all(Array.from({ length: 9 }, take))
    const [slow] = results[4]!
    await slowDown(slow.recipientId)
    const hand = ([delivery, settlement]: [LeasedDelivery, Settlement]) =>
      desk.settle(delivery, leases.add({ ...delivery, epoch: 1 }, performance.now()), settlement)
    for (const result of results) hand(result)
    await until('all others are on record', async () => (await countRows()) === 1)
    hand(await take())
    await until('so is what came later', async () => (await countRows()) === 1)
    await until('its lease alone is held', () => leases.size === 1)
    expect(desk.isHeldUp).toBe(false)
    await speedUp()
    await desk.drain()
    expect(await countRows()).toBe(0)
    await engine.end()
  })
})
