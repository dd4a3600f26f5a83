import { createIdSource } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { countStrayRows, dropOldPartitions, ensurePartitions } from './maintenance.ts'
import { migrate } from './migrate.ts'

let database: Database
let url: string
let drop: () => Promise<void>
const dayMs = 86_400_000

beforeAll(async () => {
  const made = await createDatabase()
  url = made.url
  drop = made.drop
  database = openDatabase({ url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await drop()
})

/** As the owner: makes the partition of a day long gone and puts one row of that day into each table named. */
async function makeOldDay(daysAgo: number): Promise<{ messageId: string; day: string }> {
  const at = Date.now() - daysAgo * dayMs
  const messageId = createIdSource(() => at)()
  const day = new Date(at).toISOString().slice(0, 10).replaceAll('-', '')
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (const parent of ['bodies', 'events', 'messages']) {
    await client.query(
      `CREATE TABLE IF NOT EXISTS valija_parts.${parent}_${day} PARTITION OF valija.${parent} FOR VALUES
       FROM ('${await bound(client, at)}') TO ('${await bound(client, at + dayMs)}')`,
    )
  }
  await client.end()
  await database.engine.query(
    `INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $1, 'x')`,
    [messageId],
  )
  return { messageId, day }
}

async function bound(
  client: { query: (sql: string, values: unknown[]) => Promise<{ rows: { id: string }[] }> },
  ms: number,
) {
  const result = await client.query(
    `SELECT valija.lowest_uuid(date_trunc('day', $1::timestamptz, 'UTC')) AS id`,
    [new Date(ms)],
  )
  return result.rows[0]!.id
}

const partitions = async (day: string) =>
  (
    await database.engine.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relname ~ $1 AND relkind = 'r' ORDER BY 1`,
      [`_${day}$`],
    )
  ).rows.map((row) => row.name)

describe('partitions', () => {
  test('exist for today and 14 days on, and are made by the engine without owning the tables', async () => {
    expect(await ensurePartitions(database.engine)).toBe(0)
    for (const ahead of [0, 14]) {
      const day = new Date(Date.now() + ahead * dayMs).toISOString().slice(0, 10).replaceAll('-', '')
      expect(await partitions(day)).toHaveLength(6)
    }
    expect(await countStrayRows(database.engine)).toBe(0)
  })

  test('beyond the retention are dropped, each kind of data by its own', async () => {
    const { day } = await makeOldDay(40)
    const retention = { contentMs: 30 * dayMs, historyMs: 90 * dayMs }
    expect(await dropOldPartitions(database.engine, retention)).toBe(1)
    expect(await partitions(day)).toEqual([`events_${day}`, `messages_${day}`])
    expect(await dropOldPartitions(database.engine, { ...retention, historyMs: 35 * dayMs })).toBe(2)
    expect(await partitions(day)).toEqual([])
  })

  test('that hold something live stay, however old they are', async () => {
    const { day, messageId } = await makeOldDay(50)
    await database.engine.query(
      `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
       VALUES ($1, $1, $1, 'bulk', 'capture', 'b.test', 'waiting', now(), now())`,
      [messageId],
    )
    const retention = { contentMs: 30 * dayMs, historyMs: 30 * dayMs }
    expect(await dropOldPartitions(database.engine, retention)).toBe(0)
    await database.engine.query('DELETE FROM valija.deliveries')
    expect(await dropOldPartitions(database.engine, retention)).toBe(3)
    expect(await partitions(day)).toEqual([])
  })

  test('of today are never dropped, and nobody but the engine may drop any', async () => {
    expect(await dropOldPartitions(database.engine, { contentMs: 0, historyMs: 0 })).toBe(0)
    await expect(database.tenant.query(`SELECT valija.drop_partitions('bodies', now())`)).rejects.toThrow(
      /permission denied/,
    )
    await expect(database.engine.query(`SELECT valija.drop_partitions('tenants', now())`)).rejects.toThrow(
      /no partitions/,
    )
  })
})

describe('migrations', () => {
  test('applied twice, also at the same time, do nothing the second time', async () => {
    expect(await Promise.all([migrate(url), migrate(url)])).toEqual([[], []])
  })
})
