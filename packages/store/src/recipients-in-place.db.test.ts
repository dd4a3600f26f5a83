/** How recipients are written anew with what came of their mail: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages } from './accept-messages.ts'
import { type Database, openDatabase } from './database.ts'
import { makeMessage } from './make-message.test-support.ts'

const nextId = createIdSource(Date.now)
const tenantId = nextId()
let database: Database
let pool: pg.Pool
let drop: () => Promise<void>

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  // What comes one after the other is asked on one connection: its plans, and what it has read, are all that there are.
  database = openDatabase({ url: made.url, onError: () => {} })
  pool = database.engine
  await pool.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
})
afterAll(async () => {
  await database.close()
  await drop()
})

test('nearly all find room in their page, so that no index gets another entry', async () => {
  // As large as a settle's are under load.
  const batches = Array.from({ length: 40 }, () =>
    Array.from({ length: 15 }, () => makeMessage(nextId, tenantId)),
  )
  for (const batch of batches) await acceptMessages(pool, batch, { directShare: 0 })
  for (const batch of batches) {
    await pool.query(
      `UPDATE valija.recipients SET status = 'delivered', reply = '250 2.0.0 Ok: queued as 4F1D2', enhanced_status = '2.0.0',
         attempts = 1, delivered_at = now(), size_bytes = 10500, seq = 2
       WHERE id = ANY ($1::uuid[])`,
      [batch.flatMap(({ recipients }) => recipients.map(({ id }) => id))],
    )
  }
  await pool.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await pool.query<{ changed: number; inPlace: number }>(
    `SELECT sum(n_tup_upd)::int AS changed, sum(n_tup_hot_upd)::int AS "inPlace"
     FROM pg_stat_user_tables WHERE relname LIKE 'recipients%'`,
  )
  expect(rows[0]!.changed).toBe(600)
  expect(rows[0]!.inPlace).toBeGreaterThan(600 * 0.75)
})

test('the same goes for days that are made later', async () => {
  await pool.query(`SELECT valija.ensure_partitions('recipients', 20)`)
  const { rows } = await pool.query<{ options: string[] | null }>(
    `SELECT c.reloptions AS options FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'valija.recipients'::regclass AND c.relname ~ '_[0-9]{8}$'`,
  )
  expect(rows.length).toBeGreaterThanOrEqual(21)
  expect(new Set(rows.map(({ options }) => options?.join()))).toEqual(new Set(['fillfactor=50']))
})
