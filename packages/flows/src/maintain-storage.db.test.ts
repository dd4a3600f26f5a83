/** Housekeeping as a whole: what one step's trouble means for the others, and how it ends. */
import { createIdSource, createMailLog, createSealer } from '@valija/core'
import { assertSameSecretKey, type Database, openDatabase } from '@valija/store'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createMaintenance } from './maintain-storage.ts'

const dayMs = 86_400_000
const sealer = createSealer(['a-secret-key-of-this-test'])
const during = createSealer(['another-secret-key-of-this-test', 'a-secret-key-of-this-test'])
const retention = { contentMs: 30 * dayMs, historyMs: 90 * dayMs }
let made: TestDatabase
let database: Database
let errors: Error[]
let told: string[]

beforeEach(async () => {
  made = await createDatabase()
  errors = []
  told = []
  database = openDatabase({ url: made.url, onError: () => {} })
  await database.engine.query(
    `INSERT INTO valija.idempotency_keys (tenant_id, key, body_hash, message_id, response, expires_at)
     SELECT $1, n, '', $1, '', now() - interval '1 h' FROM generate_series(1, 6000) AS n`,
    [createIdSource(() => Date.now())()],
  )
})
afterEach(async () => {
  await database.close()
  await made.drop()
})

const start = (key = sealer) => {
  const onError = (error: Error) => errors.push(error)
  const maintenance = createMaintenance({
    database,
    clock: { nowMs: Date.now },
    nextId: createIdSource(Date.now),
    wake: { send: () => {}, on: () => () => {} },
    mailLog: createMailLog(() => {}),
    sealer: key,
    retention,
    log: ({ count }, text) => told.push(`${count} ${text}`),
    tell: () => {},
    onError,
  })
  maintenance.start()
  return maintenance
}

const countKeys = async () =>
  (
    await database.engine.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM valija.idempotency_keys',
    )
  ).rows[0]?.count

test('a step that fails is told of and keeps no other step from its turn', async () => {
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query('DROP FUNCTION valija.ensure_partitions').finally(() => owner.end())
  const maintenance = start()
  await until('the old keys are gone', async () => (await countKeys()) === 0)
  await maintenance.stop()
  expect(errors.map((error) => error.message)).toEqual([
    expect.stringMatching(/ensure_partitions.* does not exist/),
  ])
})

test('a stop waits for one piece of work at most, not until all of it is done', async () => {
  await start().stop()
  expect(await countKeys()).toBeGreaterThan(0)
  expect(errors).toEqual([])
})

test('a quarantine ends when the address has taken a mail, and what counts no more is forgotten', async () => {
  const tenantId = createIdSource(() => Date.now())()
  await database.engine.query(
    `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason, quarantined_at)
     SELECT valija.new_id(), $1, name || '@example.org', name || '@example.org', 'mailbox_unknown', now() - interval '1 h'
     FROM unnest('{well,ill}'::text[]) AS name`,
    [tenantId],
  )
  await database.engine.query(
    `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, seq, delivered_at, size_bytes)
     VALUES (valija.new_id(), valija.new_id(), $1, 0, 'well@example.org', 'well@example.org', 'example.org', 'to', 'delivered', 3, now(), 9)`,
    [tenantId],
  )
  await database.engine.query(
    `INSERT INTO valija.mailbox_faults (recipient_id, tenant_id, email_key, provider, reason, at)
     SELECT valija.new_id(), $1, 'ill@example.org', 'example.org', 'mailbox_full', now() - n * interval '1 d' FROM generate_series(13, 20) AS n`,
    [tenantId],
  )
  const read = async (table: string) =>
    (await database.engine.query(`SELECT email_key FROM valija.${table}`)).rows.map((row) => row.email_key)
  const maintenance = start()
  await until('the quarantine is over', async () => (await read('suppressions')).length === 1)
  await maintenance.stop()
  expect(await read('suppressions')).toEqual(['ill@example.org'])
  expect(await read('mailbox_faults')).toEqual(['ill@example.org'])
  expect(errors).toEqual([])
})

/** As the owner: the day so long ago, in every table, with a mail of that day. */
async function makeOldDay(daysAgo: number): Promise<string> {
  const atMs = Date.now() - daysAgo * dayMs
  const id = createIdSource(() => atMs)()
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query(
    `DO $$ DECLARE parent text; day timestamptz := date_trunc('day', to_timestamp(${atMs / 1000}), 'UTC'); BEGIN
       FOREACH parent IN ARRAY ARRAY['messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries'] LOOP
         EXECUTE format('CREATE TABLE valija_parts.%I PARTITION OF valija.%I FOR VALUES FROM (%L) TO (%L)',
           parent || '_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD'), parent, valija.lowest_uuid(day), valija.lowest_uuid(day + interval '1 day'));
       END LOOP;
     END $$`,
  )
  await owner.end()
  await database.engine.query(
    `INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $1, 'x')`,
    [id],
  )
  await database.engine.query(
    `INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $1, 'x', now(), '{}')`,
    [id],
  )
  return id
}

test('content goes after its retention and the rest after its own; a mail that still waits keeps both, until it ends', async () => {
  const [held, forgotten, older, recent] = [
    await makeOldDay(200),
    await makeOldDay(100),
    await makeOldDay(40),
    await makeOldDay(20),
  ]
  await database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at, hold)
     VALUES ($1, $1, $1, 'bulk', 'r', 'b.test', 'waiting', now(), now() + interval '1 year', 'route_paused:r')`,
    [held],
  )
  const read = async (table: string, column: string) =>
    (
      await database.engine.query<{ id: string }>(`SELECT ${column} AS id FROM valija.${table} ORDER BY 1`)
    ).rows.map(({ id }) => id)
  const maintain = async (dropped: number) => {
    const maintenance = start()
    await until('the days are dropped', () =>
      told.includes(`${dropped} partitions beyond the retention were dropped`),
    )
    await maintenance.stop()
  }
  await maintain(7) // all six of a hundred days ago, and the bodies of forty
  expect(await read('bodies', 'message_id')).toEqual([held, recent])
  expect(await read('events', 'id')).toEqual([held, older, recent])
  expect(await read('bodies', 'message_id')).not.toContain(forgotten)
  await database.engine.query('DELETE FROM valija.deliveries')
  await maintain(6)
  expect(await read('bodies', 'message_id')).toEqual([recent])
  expect(await read('events', 'id')).toEqual([older, recent])
  expect(errors).toEqual([])
})

test('a secret that cannot be opened does not make all of it run again and again', async () => {
  await assertSameSecretKey(database, sealer)
  const [tenantId, id] = [createIdSource(() => Date.now())(), createIdSource(() => Date.now())()]
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'https://a.test', '{*}', $3)`,
    [id, tenantId, sealer.seal(Buffer.from('x'), 'somebody else')],
  )
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query('DROP FUNCTION valija.ensure_partitions').finally(() => owner.end())
  const maintenance = start(during)
  const countErrors = (text: string) => errors.filter(({ message }) => message.includes(text)).length
  await until('another look at the secret', () => countErrors(id) > 1, 60_000)
  await maintenance.stop()
  expect(countErrors('ensure_partitions')).toBe(1)
})
