import { setTimeout as delay } from 'node:timers/promises'
import { createIdSource } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, createEmptyDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import {
  countStrayRows,
  dropOldPartitions,
  ensurePartitions,
  forgetOldInboxMails,
  forgetUntoldEvents,
  partitionedTables,
} from './maintenance.ts'
import { migrate } from './migrate.ts'

let database: Database
let url: string
let drop: () => Promise<void>
const dayMs = 86_400_000
/** More than a test takes. */
const testMs = 60_000
const dayName = (ahead: number) =>
  new Date(Date.now() + ahead * dayMs).toISOString().slice(0, 10).replaceAll('-', '')
/** The day (UTC) whose partitions are known to be there, with those of the days after it. */
let lastDay: string

beforeAll(async () => {
  lastDay = dayName(0)
  const made = await createDatabase()
  url = made.url
  drop = made.drop
  database = openDatabase({ url, onError: () => {} })
})
beforeEach(async () => {
  // No test goes on over midnight: what is today and how many days are there would change within it.
  const leftMs = dayMs - (Date.now() % dayMs)
  if (leftMs < testMs) await delay(leftMs + 100) // a timer may come a little early
  if (dayName(0) === lastDay) return
  lastDay = dayName(0)
  await ensurePartitions(database.engine)
  while ((await dropOldPartitions(database.engine, { contentMs: 0, historyMs: 0 })) > 0);
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
      expect(await partitions(dayName(ahead))).toHaveLength(6)
    }
    expect(await countStrayRows(database.engine)).toBe(0)
  })

  test('beyond the retention are dropped, each kind of data by its own', async () => {
    const { day } = await makeOldDay(40)
    const retention = { contentMs: 30 * dayMs, historyMs: 90 * dayMs }
    expect(await dropOldPartitions(database.engine, retention)).toBe(1)
    expect(await dropOldPartitions(database.engine, retention)).toBe(0)
    expect(await partitions(day)).toEqual([`events_${day}`, `messages_${day}`])
    expect(await dropOldPartitions(database.engine, { ...retention, historyMs: 35 * dayMs })).toBe(2)
    expect(await partitions(day)).toEqual([])
  })

  test.each([
    ['waits for its first attempt', `'waiting', now(), NULL, NULL, NULL`],
    ['waits for a retry in a month', `'waiting', now() + interval '30 days', NULL, NULL, NULL`],
    ['is held until its route is resumed', `'waiting', now(), 'route_paused:r', NULL, NULL`],
    ['is hinted to a worker', `'admitted', now(), NULL, now(), NULL`],
    ['is in the hands of a worker', `'leased', now(), NULL, NULL, now() + interval '30 s'`],
  ])('that hold mail which %s stay, however old they are, with its content', async (_, state) => {
    const { day, messageId } = await makeOldDay(50)
    await database.engine.query(
      `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, expires_at, state, due_at, hold, admitted_at, leased_until)
       VALUES ($1, $1, $1, 'bulk', 'capture', 'b.test', now(), ${state})`,
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
    await expect(database.tenant.query(`SELECT valija.drop_partition('bodies', now())`)).rejects.toThrow(
      /permission denied/,
    )
    await expect(database.engine.query(`SELECT valija.drop_partition('tenants', now())`)).rejects.toThrow(
      /no partitions/,
    )
    await expect(database.engine.query(`SELECT valija.ensure_partitions('tenants', 1)`)).rejects.toThrow(
      /no partitions/,
    )
  })

  test('are equal to their table: every index, check and default', async () => {
    const shape = async (table: string) => {
      const columns = await database.engine.query(
        `SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull, attstorage, pg_get_expr(adbin, adrelid) AS "default"
         FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum`,
        [table],
      )
      const constraints = await database.engine.query(
        `SELECT contype, pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conrelid = $1::regclass ORDER BY 1, 2`,
        [table],
      )
      const indexes = await database.engine.query(
        `SELECT regexp_replace(indexdef, '.* USING', '') AS text FROM pg_indexes
         WHERE schemaname || '.' || tablename = $1 ORDER BY 1`,
        [table],
      )
      return [columns.rows, constraints.rows, indexes.rows]
    }
    for (const table of partitionedTables) {
      expect(await shape(`valija_parts.${table}_${dayName(0)}`)).toEqual(await shape(`valija.${table}`))
    }
  })
})

/** As the owner of the tables. */
async function asOwner<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const dropDay = (ahead: number) =>
  asOwner((client) =>
    client.query(
      partitionedTables.map((table) => `DROP TABLE valija_parts.${table}_${dayName(ahead)}`).join(';'),
    ),
  )

/** How long each function waits for a lock; for two, one after the other, when it drops. */
async function lockWaits(): Promise<Record<string, string>> {
  const { rows } = await database.engine.query<{ name: string; wait: string }>(
    `SELECT proname AS name, split_part(setting, '=', 2) AS wait FROM pg_proc CROSS JOIN unnest(proconfig) AS setting
     WHERE pronamespace = 'valija'::regnamespace AND setting LIKE 'lock_timeout=%'`,
  )
  return Object.fromEntries(rows.map(({ name, wait }) => [name, wait]))
}

describe('traffic', () => {
  test('goes on while old days are dropped: nobody fails, and nobody is in the way of anybody', async () => {
    const made = []
    for (let daysAgo = 100; daysAgo < 110; daysAgo += 1) made.push(await makeOldDay(daysAgo))
    const nextId = createIdSource(() => Date.now())
    let isOver = false
    let rounds = 0
    const lane = async () => {
      while (!isOver) {
        const id = nextId()
        await database.engine.query(
          `WITH body AS (INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $1, 'x'))
           INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $1, 'x', now(), '{}')`,
          [id],
        )
        const { rows } = await database.engine.query(
          'SELECT FROM valija.bodies AS b JOIN valija.events AS e ON e.id = b.message_id WHERE b.message_id = $1',
          [id],
        )
        expect(rows).toHaveLength(1)
        rounds += 1
      }
    }
    const lanes = Promise.all([lane(), lane(), lane()])
    // One that had to wait for its lock has it next time: maintenance comes again as well.
    const drop = () =>
      dropOldPartitions(database.engine, { contentMs: 30 * dayMs, historyMs: 30 * dayMs }).catch(
        (error: { code?: string }) => (error.code === '55P03' ? 1 : Promise.reject(error)),
      )
    const before = rounds
    while ((await drop()) > 0);
    expect(rounds).toBeGreaterThan(before)
    isOver = true
    await lanes
    for (const { day } of made) expect(await partitions(day)).toEqual([])
  })

  test('that makes something old live while its day waits to be dropped keeps the day', async () => {
    const { day } = await makeOldDay(80)
    const old = createIdSource(() => Date.now() - 80 * dayMs)()
    const [tenantId, retention] = [
      createIdSource(() => Date.now())(),
      { contentMs: 30 * dayMs, historyMs: 30 * dayMs },
    ]
    await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, tenantId])
    await database.engine.query(
      `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $1, 'http://a.test', '{*}', '')`,
      [tenantId],
    )
    await database.engine.query(
      `INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $2, 'x', now(), '{}')`,
      [old, tenantId],
    )
    // As POST /webhooks/:id/replay of that event does it, with a commit that takes its time.
    const replay = await database.engine.connect()
    await replay.query('BEGIN')
    await replay.query('SELECT FROM valija.events WHERE id = $1', [old])
    const dropping = dropOldPartitions(database.engine, retention).catch((error: Error) => error)
    await expect
      .poll(
        async () => {
          const { rows } = await database.engine.query(
            `SELECT FROM pg_locks WHERE NOT granted AND relation = 'valija.events'::regclass`,
          )
          return rows.length
        },
        { interval: 5, timeout: 5_000 },
      )
      .toBe(1)
      .catch(() => {}) // given up before it was seen: it will be tried again below
    await replay.query(
      'INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at) VALUES ($1, $2, $1, now())',
      [tenantId, old],
    )
    await replay.query('COMMIT')
    replay.release()
    await dropping
    while ((await dropOldPartitions(database.engine, retention)) > 0);
    expect(await partitions(day)).toEqual([`events_${day}`])
    await database.engine.query('DELETE FROM valija.webhook_outbox')
    expect(await dropOldPartitions(database.engine, retention)).toBe(1)
    expect(await partitions(day)).toEqual([])
  })
})

describe('a long reader, such as a backup', () => {
  /** Works while a transaction has read all tables, as pg_dump does, the default partitions too. */
  const whileRead = <T>(work: () => Promise<T>) =>
    asOwner(async (reader) => {
      await reader.query('BEGIN')
      await reader.query(
        `LOCK TABLE ${partitionedTables.map((table) => `valija.${table}`).join(', ')} IN ACCESS SHARE MODE`,
      )
      return work()
    })

  test('holds up no writer for more than a moment while partitions are made and dropped', async () => {
    await dropDay(14)
    const { day } = await makeOldDay(60)
    const id = createIdSource(() => Date.now())()
    const write = () =>
      database.engine.query(
        `INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $1, 'x', now(), '{}') ON CONFLICT DO NOTHING`,
        [id],
      )
    await whileRead(async () => {
      const retention = { contentMs: 30 * dayMs, historyMs: 30 * dayMs }
      for (const work of [ensurePartitions, (pool: pg.Pool) => dropOldPartitions(pool, retention)]) {
        // Given up, and the writer behind it has gone on: the reader still holds its locks.
        const given = expect(work(database.engine)).rejects.toMatchObject({ code: '55P03' })
        await Promise.all([write(), given])
      }
      expect(await lockWaits()).toEqual({ drop_partition: '200ms', ensure_partitions: '500ms' })
    })
    expect(await ensurePartitions(database.engine)).toBe(6)
    expect(await partitions(day)).toHaveLength(3)
  })

  test('does not keep a version from starting that has partitions for today and tomorrow', async () => {
    await dropDay(14)
    await whileRead(async () => expect(await migrate(url)).toEqual([]))
    expect(await partitions(dayName(14))).toEqual([])
    await migrate(url)
    expect(await partitions(dayName(14))).toHaveLength(6)
  })

  test('does keep one from starting that has none for tomorrow', async () => {
    await dropDay(1)
    await whileRead(() => expect(migrate(url)).rejects.toMatchObject({ code: '55P03' }))
    await migrate(url)
    expect(await partitions(dayName(1))).toHaveLength(6)
  })

  test('lets a table get its partition while only others are read', async () => {
    await dropDay(14)
    await asOwner(async (reader) => {
      await reader.query('BEGIN; LOCK TABLE valija.webhook_tries IN ACCESS SHARE MODE')
      await expect(ensurePartitions(database.engine)).rejects.toMatchObject({ code: '55P03' })
      expect(await partitions(dayName(14))).toHaveLength(5)
    })
    expect(await ensurePartitions(database.engine)).toBe(1)
  })
})

describe('an installation whose owner does not inherit the rights of the engine', () => {
  test('keeps the days that hold something live', async () => {
    const empty = await createEmptyDatabase()
    const owner = `keeper_${process.pid}_${Date.now()}`
    const asAdministrator = async (sql: string) => {
      const client = new pg.Client(empty.url)
      await client.connect()
      await client.query(sql).finally(() => client.end())
    }
    const ownUrl = new URL(empty.url)
    ownUrl.username = owner
    let own: Database | undefined
    try {
      await asAdministrator(`CREATE ROLE ${owner} LOGIN NOINHERIT CREATEROLE;
        GRANT valija_engine, valija_tenant TO ${owner} WITH INHERIT FALSE, SET TRUE;
        GRANT CREATE ON DATABASE ${new URL(empty.url).pathname.slice(1)} TO ${owner}`)
      await migrate(ownUrl.href)
      own = openDatabase({ url: ownUrl.href, onError: () => {} })
      await own.engine.query(
        `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
         VALUES ($1, $1, $1, 'bulk', 'capture', 'b.test', 'waiting', now(), now())`,
        [createIdSource(() => Date.now())()],
      )
      // As if the retention ended tomorrow: today's partition is beyond it.
      const drop = () =>
        own?.engine.query(`SELECT valija.drop_partition('bodies', now() + interval '1 d') AS "isDropped"`)
      expect((await drop())?.rows).toEqual([{ isDropped: false }])
      await own.engine.query('DELETE FROM valija.deliveries')
      expect((await drop())?.rows).toEqual([{ isDropped: true }])
    } finally {
      await own?.close()
      await asAdministrator(`DROP OWNED BY ${owner} CASCADE`)
      await empty.drop()
      await asOwner((client) => client.query(`DROP ROLE ${owner}`))
    }
  })
})

describe('events that an endpoint was not told of', () => {
  test.each([
    ['it is disabled', `UPDATE valija.webhooks SET status = 'disabled'`],
    ['it refused them', 'UPDATE valija.webhook_outbox SET tries = 1'],
  ])('are kept beyond the retention while they were not tried, and forgotten when %s', async (_, sql) => {
    const { day, messageId } = await makeOldDay(70)
    const retention = { contentMs: 30 * dayMs, historyMs: 30 * dayMs }
    const tenantId = createIdSource(() => Date.now())()
    await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, tenantId])
    await database.engine.query(
      `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $1, 'http://a.test', '{*}', '')`,
      [tenantId],
    )
    await database.engine.query(
      'INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at) SELECT $1, id, $1, now() FROM unnest($2::uuid[]) AS id',
      [tenantId, [messageId, createIdSource(() => Date.now())()]],
    )
    expect(await forgetUntoldEvents(database.engine, retention.historyMs)).toBe(0)
    await dropOldPartitions(database.engine, retention)
    expect(await partitions(day)).toContain(`events_${day}`)
    await database.engine.query(sql)
    expect(await forgetUntoldEvents(database.engine, retention.historyMs)).toBe(1)
    await dropOldPartitions(database.engine, retention)
    expect(await partitions(day)).toEqual([])
  })
})

describe('the inbox', () => {
  test('loses the mails beyond the retention, by the time in their ids, and no other', async () => {
    const [old, fresh] = [createIdSource(() => Date.now() - 40 * dayMs)(), createIdSource(() => Date.now())()]
    await database.engine.query(
      `INSERT INTO valija.inbox (id, tenant_id, message_id, received_at, mail_from, rcpt_to, rcpt_keys, from_header, to_header,
         subject, raw)
       SELECT id, id, id, now(), '', '{}', '{}', '', '', '', '' FROM unnest($1::uuid[]) AS id`,
      [[old, fresh]],
    )
    expect(await forgetOldInboxMails(database.engine, 30 * dayMs)).toBe(1)
    expect((await database.engine.query('SELECT id FROM valija.inbox')).rows).toEqual([{ id: fresh }])
  })
})

describe('migrations', () => {
  test('applied twice, also at the same time, do nothing the second time', async () => {
    expect(await Promise.all([migrate(url), migrate(url)])).toEqual([[], []])
  })
})
