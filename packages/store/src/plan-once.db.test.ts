/** What accepting and admitting read on a connection that has done so before: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages } from './accept-messages.ts'
import { admitInTurn, countInFlight } from './admission.ts'
import { type Database, openDatabase } from './database.ts'
import { makeMessage } from './make-message.test-support.ts'

const nextId = createIdSource(Date.now)
const tenantId = nextId()
const otherTenantId = nextId()
let database: Database
let pool: pg.Pool
let drop: () => Promise<void>

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  // What comes one after the other is asked on one connection: its plans, and what it has read, are all that there are.
  database = openDatabase({ url: made.url, onError: () => {} })
  pool = database.engine
  await pool.query('INSERT INTO valija.tenants (id, name) SELECT id, id FROM unnest($1::uuid[]) AS id', [
    [tenantId, otherTenantId],
  ])
})
afterAll(async () => {
  await database.close()
  await drop()
})

const fill = (state: string, count: number) =>
  pool.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at, admitted_at)
     SELECT uuidv7(), uuidv7(), $1, 'transactional', 'mx', 'b.test', $2, now() - n * interval '1 s', now() + interval '1 d', now()
     FROM generate_series(1, $3) AS n`,
    [otherTenantId, state, count],
  )

/** How many entries of the indexes of `deliveries` that name a state were read meanwhile, dead ones included. */
async function entriesRead(work: () => Promise<unknown>): Promise<number> {
  const count = async () => {
    await pool.query('SELECT pg_stat_force_next_flush()')
    const { rows } = await pool.query<{ read: number }>(
      `SELECT sum(idx_tup_read)::int AS read FROM pg_stat_user_indexes
       WHERE relid = 'valija.deliveries'::regclass AND indexrelname <> 'deliveries_pkey'`,
    )
    return rows[0]!.read
  }
  const before = await count()
  await work()
  return (await count()) - before
}

const accept = () => acceptMessages(pool, [makeMessage(nextId, tenantId)], { directShare: 100 })

test('accepting one message is planned once, and not each time', async () => {
  for (let time = 0; time < 8; time++) await accept()
  const { rows } = await pool.query(
    `SELECT custom_plans::int AS each, generic_plans::int AS once FROM pg_prepared_statements WHERE name = 'accept-messages'`,
  )
  expect(rows).toEqual([{ each: 0, once: 8 }])
})

test('dead rows that nobody can see any more are met once, in accepting and in counting what is in flight', async () => {
  const countInTurn = () => admitInTurn(pool, countInFlight)
  await accept()
  await countInTurn()
  // Too few for a vacuum.
  await fill('admitted', 900)
  await pool.query(`DELETE FROM valija.deliveries WHERE tenant_id = $1`, [otherTenantId])
  // Transactions of other tests may still have to see them.
  await until('counting reads few', async () => (await entriesRead(countInTurn)) < 50)
  await until('accepting reads few', async () => (await entriesRead(accept)) < 50)
})

test('accepting by a plan of the time when nothing waited reads nothing of what others have waiting', async () => {
  await fill('admitted', 1000)
  // Plans are made anew after it.
  await pool.query('SET ROLE none')
  await pool.query('ANALYZE valija.deliveries')
  await pool.query('SET ROLE valija_engine')
  await accept()
  await fill('waiting', 1000)
  // Of what is admitted it counts 256.
  expect(await entriesRead(accept)).toBeLessThan(500)
})

test('no statement is compiled: before PostgreSQL 18 that would be done anew for each accept', async () => {
  for (const each of [database.engine, database.tenant]) {
    const { rows } = await each.query(`SELECT setting, source FROM pg_settings WHERE name = 'jit'`)
    // By us, and not by this server's own configuration.
    expect(rows).toEqual([{ setting: 'off', source: 'client' }])
  }
})
