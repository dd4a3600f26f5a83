/**
 * Searching messages where there are more than one look takes: that nothing is skipped or doubled, by whichever way they are looked for, with digests and
 * without. What each filter means is tested with GET /messages.
 */
import { createIdSource, lowestUuidAt, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { repairFutureTimes } from './clock-jumps.ts'
import { type Database, openDatabase, readAsTenant } from './database.ts'
import { digestNewMessages, findTenantsToDigest, forgetOldDigests } from './message-digests.ts'
import { candidatesBy, waysToCandidates } from './search-candidates.ts'
import { findMessages, type MessageSearch } from './search-messages.ts'

let url: string
let database: Database
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())
const [tenantId, otherId] = [nextId(), nextId()]
const messages = 4_720
/** Of the n-th message of the tenant, oldest first. */
let ids: Uuid[]

/**
 * One in seven is bounced, one in a thousand cancelled, the others delivered, all minutes ago; every 1,000th has the tag `rare`, the first 100 the tag
 * `once`, all of them go to one address and every fifth to another one besides.
 */
const seed = `
CREATE TEMP TABLE seed AS SELECT n, uuidv7(-age) AS id, uuidv7(-age) AS ann, uuidv7(-age) AS bob, now() - age AS at FROM (
  SELECT n, interval '10 min' - n * interval '1 ms' AS age FROM generate_series(1, $1) AS n) AS made`
const rows = [
  `INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags, metadata, expires_at,
     rfc_message_id, is_simulated, recipient_count)
   SELECT id, $1, at, 'transactional', 'mx', '', 'hi@acme.test', 'acme.test', 'Order ' || n,
     ARRAY['all', CASE WHEN n % 1000 = 0 THEN 'rare' WHEN n <= 100 THEN 'once' ELSE 'x' END], jsonb_build_object('n', n::text), at, '', false,
     CASE WHEN n % 5 = 0 THEN 2 ELSE 1 END FROM seed`,
  `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, reason, seq)
   SELECT ann, id, $1, 0, 'ann@b.test', 'ann@b.test', 'b.test', 'to',
     CASE WHEN n % 1000 = 1 THEN 'cancelled' WHEN n % 7 = 0 THEN 'bounced' ELSE 'delivered' END, CASE WHEN n % 7 = 0 THEN 'spam' END, 2 FROM seed`,
  `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, seq)
   SELECT bob, id, $1, 1, 'bob@b.test', 'bob@b.test', 'b.test', 'cc', 'delivered', 2 FROM seed WHERE n % 5 = 0`,
  `INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data)
   SELECT valija.new_id(), $1, CASE WHEN n % 1000 = 1 THEN 'message.cancelled' ELSE 'message.bounced' END, id, now(), '{}'
   FROM seed WHERE n % 1000 = 1 OR n % 7 = 0`,
]

/** As the owner: in the first minutes of a day (UTC) the messages are of the day before, which an installation of today has no partitions of. */
async function makeTheirDay(owner: pg.Client): Promise<void> {
  const { rows } = await owner.query<{ day: string; from: Uuid; to: Uuid }>(
    `SELECT to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD') AS day, valija.lowest_uuid(at) AS "from", valija.lowest_uuid(at + interval '24 h') AS "to"
     FROM date_trunc('day', now() - interval '10 min', 'UTC') AS at`,
  )
  const { day, from, to } = rows[0]!
  for (const parent of ['messages', 'recipients', 'events']) {
    await owner.query(
      `CREATE TABLE IF NOT EXISTS valija_parts.${parent}_${day} PARTITION OF valija.${parent} FOR VALUES FROM ('${from}') TO ('${to}')`,
    )
  }
}

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  url = made.url
  const owner = new pg.Client(made.url)
  await owner.connect()
  await makeTheirDay(owner)
  database = openDatabase({ url: made.url, onError: () => undefined })
  const client = await database.engine.connect()
  await client.query(`INSERT INTO valija.tenants (id, name) VALUES ($1::uuid, 'one'), ($2::uuid, 'two')`, [
    tenantId,
    otherId,
  ])
  await client.query(seed.replace('$1', `${messages}`))
  for (const text of rows) await client.query(text, [tenantId])
  ids = (await client.query<{ id: Uuid }>('SELECT id FROM seed ORDER BY n')).rows.map(({ id }) => id)
  client.release()
  // What autovacuum does by itself after so many rows.
  await owner.query('ANALYZE')
  await owner.end()
})
afterAll(async () => {
  await database?.close()
  await drop?.()
})

/** All pages together. */
async function findAll(search: MessageSearch, timeMs?: number): Promise<{ ids: Uuid[]; pages: number }> {
  const found: Uuid[] = []
  let before: Uuid | null = null
  for (let pages = 1; ; pages += 1) {
    const page: Awaited<ReturnType<typeof findMessages>> = await findMessages(
      database,
      tenantId,
      search,
      { before, limit: 700 },
      timeMs,
    )
    expect(page.rows.length).toBeLessThanOrEqual(700)
    found.push(...page.rows.map(({ id }) => id))
    if (page.next === null) return { ids: found, pages }
    before = page.next
  }
}

/** Newest first, the ids of those whose number is such. */
const numbered = (is: (n: number) => boolean) => ids.filter((_, index) => is(index + 1)).toReversed()

const searches: [MessageSearch, (n: number) => boolean][] = [
  [{}, () => true],
  [{ tag: 'all' }, () => true],
  [{ tag: 'rare' }, (n) => n % 1000 === 0],
  [{ tag: 'once' }, (n) => n <= 100 && n % 1000 !== 0],
  [{ tag: 'none' }, () => false],
  [{ metadata: { n: '4711' } }, (n) => n === 4711],
  [{ subject: 'ORDER 47' }, (n) => `${n}`.startsWith('47')],
  [{ subject: '7', tag: 'once' }, (n) => n <= 100 && `${n}`.includes('7')],
  [{ toKey: 'ann@b.test' }, () => true],
  [{ toKey: 'bob@b.test' }, (n) => n % 5 === 0],
  [{ toKey: 'bob@b.test', tag: 'once' }, (n) => n <= 100 && n % 5 === 0],
  [{ toKey: 'bob@b.test', metadata: { n: '4711' } }, () => false],
  [{ toKey: 'ann@b.test', tag: 'rare' }, (n) => n % 1000 === 0],
  [{ reason: 'spam' }, (n) => n % 7 === 0],
  [{ reason: 'spam', tag: 'once' }, (n) => n <= 100 && n % 7 === 0],
  [{ status: 'bounced' }, (n) => n % 7 === 0 && n % 1000 !== 1 && n % 5 !== 0],
  [{ status: 'partially_delivered' }, (n) => n % 35 === 0],
  [{ status: 'cancelled' }, (n) => n % 1000 === 1],
  [{ status: 'cancelled', toKey: 'ann@b.test' }, (n) => n % 1000 === 1],
  [{ status: 'cancelled', toKey: 'bob@b.test' }, () => false],
  [{ status: 'failed', reason: 'spam' }, () => false],
  [{ status: 'partially_delivered', reason: 'spam', toKey: 'bob@b.test' }, (n) => n % 35 === 0],
  [{ status: 'failed' }, () => false],
  [{ status: 'queued' }, () => false],
  [{ status: 'scheduled' }, () => false],
]

async function expectAll(timeMs?: number): Promise<void> {
  for (const [search, is] of searches) {
    const { ids: found } = await findAll(search, timeMs)
    expect([JSON.stringify(search), found]).toEqual([JSON.stringify(search), numbered(is)])
  }
}

test('every search finds all that match and no other, newest first and once, without digests', async () => {
  await expectAll()
})

test('a page whose time is over ends early, and its cursor goes on', async () => {
  await expectAll(0)
  expect((await findAll({ tag: 'once' }, 0)).pages).toBeGreaterThan(1)
  expect((await findAll({ tag: 'once' }, 60_000)).pages).toBe(1)
})

test('what may still come before a message keeps it from being digested', async () => {
  await digestNewMessages(database, tenantId, undefined, 3_600_000)
  const writer = await database.engine.connect()
  await writer.query('BEGIN')
  await writer.query('SELECT pg_current_xact_id(), pg_sleep(0.01)')
  const { until } = await findTenantsToDigest(database.engine, null, 0)
  const began = await writer.query<{ at: Date }>('SELECT now() AS at')
  await writer.query('ROLLBACK')
  writer.release()
  expect(until.getTime()).toBeLessThanOrEqual(began.rows[0]?.at.getTime() ?? 0)
  expect((await database.engine.query('SELECT FROM valija.message_digests')).rowCount).toBe(0)
})

test('with digests the same is found, and a rare value without reading the messages', async () => {
  expect((await findTenantsToDigest(database.engine, null, 0)).tenantIds).toEqual([tenantId])
  while (await digestNewMessages(database, tenantId, undefined, 0));
  const digests = await database.engine.query('SELECT FROM valija.message_digests')
  expect(digests.rowCount).toBe(Math.floor(messages / 512))
  await expectAll()
  await expectAll(0)
  // Nothing was left to be done in a second page.
  expect((await findAll({ tag: 'none' }, 0)).pages).toBeLessThanOrEqual(2)
})

/** In looks of 40 rows; null where there is no index of anything that is looked for. */
async function findAllCandidates(search: MessageSearch): Promise<Uuid[] | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const ways = waysToCandidates({ client, tenantId, search })
    const found: Uuid[] = []
    for (let before: Uuid | null = null; ways.length > 0; ) {
      const seen = await candidatesBy(ways, { from: null, before }, 40)
      found.push(...(seen?.candidates.ids ?? []))
      before = seen?.candidates.from ?? null
      if (before === null) return found
    }
    return null
  })
}

test('candidates are found in looks of any size, newest first and once, and none is left out', async () => {
  for (const [search, is] of searches) {
    const found = await findAllCandidates(search)
    if (found === null) continue
    expect([search, found]).toEqual([search, [...new Set(found)].toSorted().toReversed()])
    expect([search, numbered(is).filter((id) => !found.includes(id))]).toEqual([search, []])
  }
  expect((await findAllCandidates({ status: 'partially_delivered' }))?.length).toBe(Math.floor(messages / 35))
})

test('another tenant finds nothing of it', async () => {
  for (const [search] of searches) {
    expect(await findMessages(database, otherId, search, { before: null, limit: 100 })).toEqual({
      rows: [],
      next: null,
    })
  }
})

test('days whose digests are forgotten are searched nevertheless', async () => {
  await database.engine.query(
    'DELETE FROM valija.message_digests WHERE last_id IN (SELECT last_id FROM valija.message_digests ORDER BY last_id LIMIT 3)',
  )
  await expectAll()
  expect(await forgetOldDigests(database.engine, 0)).toBe(Math.floor(messages / 512) - 3)
  expect(await forgetOldDigests(database.engine, 0)).toBe(0)
  await expectAll()
})

test('digests that a clock set back has left ahead of the time are made anew', async () => {
  const later = lowestUuidAt(Date.now() + 3_600_000)
  await database.engine.query(
    `INSERT INTO valija.message_digests (tenant_id, first_id, last_id, terms, subjects) VALUES ($1, $2, $2, '', '')`,
    [tenantId, later],
  )
  await repairFutureTimes(database.engine)
  const left = await database.engine.query('SELECT FROM valija.message_digests WHERE last_id = $1', [later])
  expect(left.rowCount).toBe(0)
})

test('what became of messages is found without its events too, which go with their day', async () => {
  const owner = new pg.Client(url)
  await owner.connect()
  await owner.query('DELETE FROM valija.events')
  const days = await owner.query<{ day: string }>(
    `SELECT DISTINCT tableoid::regclass::text AS day FROM valija.messages`,
  )
  for (const { day } of days.rows) await owner.query(`DROP TABLE ${day.replace('messages', 'events')}`)
  await owner.end()
  await expectAll()
  await expectAll(0)
})
