/** Mail of a tenant that keeps it for a shorter time than the installation. */
import { createIdSource, type Uuid } from '@valija/core'
import {
  acceptMessages,
  type Database,
  deleteOldMessages,
  digestNewMessages,
  forgetRedactions,
  type NewMessage,
  openDatabase,
  redactOldMessages,
} from '@valija/store'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { makeMessage } from '../../store/src/make-message.test-support.ts'
import { tenantRetentionRounds } from './tenant-retention.ts'

const dayMs = 86_400_000
const nowId = createIdSource(Date.now)
const ago = (days: number) => createIdSource(() => Date.now() - days * dayMs)
let database: Database
let made: TestDatabase
let short: Uuid
let usual: Uuid

beforeEach(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  ;[short, usual] = [nowId(), nowId()]
  await sql('INSERT INTO valija.tenants (id, name) SELECT id, id FROM unnest($1::uuid[]) AS id', [
    [short, usual],
  ])
})
afterEach(async () => {
  await database.close()
  await made.drop()
})

const sql = async (text: string, values: unknown[] = []) => (await database.engine.query(text, values)).rows
/** As the owner of the tables. */
async function owner(text: string): Promise<void> {
  const client = new pg.Client(made.url)
  await client.connect()
  await client.query(text).finally(() => client.end())
}
const set = (fields: string) => sql(`UPDATE valija.tenants SET ${fields} WHERE id = $1`, [short])
const keep = async () => {
  const onError = (error: Error) => {
    throw error
  }
  expect(await tenantRetentionRounds({ database, stop: new AbortController().signal, onError })()).toBe(
    'done',
  )
}

/** A mail with an attempt, an event, an entry in the inbox; at its end unless it is live. */
async function mail(
  tenantId: Uuid,
  days: number,
  more: Partial<NewMessage> & { isLive?: boolean } = {},
): Promise<Uuid> {
  const { isLive = false, ...fields } = more
  const nextId = ago(days)
  const at = Date.now() - days * dayMs
  const message = makeMessage(nextId, tenantId, { createdAtMs: at, ...fields })
  await acceptMessages(database.engine, [message], { directShare: 1_000_000 })
  const values = [nextId(), message.id, message.recipients[0]?.id, tenantId, new Date(at)]
  await sql(
    `WITH attempt AS (
       INSERT INTO valija.attempts (id, message_id, recipient_id, tenant_id, number, outcome, started_at, report)
       VALUES ($1, $2, $3, $4, 1, 'delivered', $5, '{"reply": "250 Ok", "transcript": [{"line": "secret"}]}')
     ), event AS (
       INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data)
       VALUES ($1, $4, 'message.delivered', $2, $5, '{"email": "ann@example.org", "metadata": {"order": "42"}}')
     ) INSERT INTO valija.inbox (id, tenant_id, message_id, received_at, mail_from, rcpt_to, rcpt_keys, from_header, to_header, subject, raw)
       VALUES ($1, $4, $2, $5, '', '{}', '{}', '', '', '', 'secret')`,
    values,
  )
  if (!isLive) await sql('DELETE FROM valija.deliveries WHERE message_id = $1', [message.id])
  return message.id
}

/** How many rows of each table are about a message. */
async function rowsOf(id: Uuid): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const table of ['messages', 'bodies', 'recipients', 'attempts', 'events', 'inbox']) {
    const column = table === 'messages' ? 'id' : 'message_id'
    counts[table] = (await sql(`SELECT FROM valija.${table} WHERE ${column} = $1`, [id])).length
  }
  return counts
}
const all = { messages: 1, bodies: 1, recipients: 1, attempts: 1, events: 1, inbox: 1 }
const none = { messages: 0, bodies: 0, recipients: 0, attempts: 0, events: 0, inbox: 0 }

test('of two tenants the mail of the one with a day of its own is deleted after it, and no other', async () => {
  await set('retention_days = 1')
  const [old, young, theirs] = [await mail(short, 3), await mail(short, 0.5), await mail(usual, 3)]
  await keep()
  expect(await rowsOf(old)).toEqual(none)
  expect(await rowsOf(young)).toEqual(all)
  expect(await rowsOf(theirs)).toEqual(all)
})

test('content goes earlier: what became of each recipient stays, and a later search finds nothing of the subject', async () => {
  await set('redact_after_days = 1')
  const [old, young, theirs] = [await mail(short, 3), await mail(short, 0.5), await mail(usual, 3)]
  await digestNewMessages(database, short)
  await keep()
  expect(await rowsOf(old)).toEqual({ ...all, bodies: 0, inbox: 0 })
  expect(await sql('SELECT subject, metadata, tags FROM valija.messages WHERE id = $1', [old])).toEqual([
    { subject: '', metadata: {}, tags: ['welcome', 'a "quoted", one \\ {x}'] },
  ])
  expect(await sql('SELECT report FROM valija.attempts WHERE message_id = $1', [old])).toEqual([
    { report: { reply: '250 Ok', transcript: [] } },
  ])
  expect(await sql('SELECT data FROM valija.events WHERE message_id = $1', [old])).toEqual([
    { data: { email: 'ann@example.org', metadata: {} } },
  ])
  expect(await rowsOf(young)).toEqual(all)
  expect(await rowsOf(theirs)).toEqual(all)
})

test.each([
  ['live', { isLive: true }],
  ['scheduled for a time that is not as long ago', { sendAtMs: Date.now() - 0.5 * dayMs }],
])('a mail that is %s is left alone, however old it is, and done with afterwards', async (_, fields) => {
  await set('retention_days = 2, redact_after_days = 1')
  const old = await mail(short, 3, fields)
  const before = await sql('SELECT subject FROM valija.messages WHERE id = $1', [old])
  await keep()
  expect(await rowsOf(old)).toMatchObject({ messages: 1, bodies: 1, recipients: 1, attempts: 1, events: 1 })
  expect(await sql('SELECT subject FROM valija.messages WHERE id = $1', [old])).toEqual(before)
  await sql('DELETE FROM valija.deliveries')
  await sql('UPDATE valija.messages SET send_at = NULL')
  await set('retention_days = NULL')
  await keep()
  expect(await rowsOf(old)).toMatchObject({ messages: 1, bodies: 0 })
  await set('retention_days = 2')
  await keep()
  expect(await rowsOf(old)).toEqual(none)
})

test('an event that an endpoint was not told of yet keeps its mail; one that it was told in vain does not', async () => {
  await set('retention_days = 1')
  const webhook = nowId()
  await sql(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://a.test', '{*}', '')`,
    [webhook, short],
  )
  const old = await mail(short, 3)
  await sql(
    `INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at) SELECT $1, id, tenant_id, now() - interval '1 s' FROM valija.events`,
    [webhook],
  )
  await keep()
  expect(await rowsOf(old)).toMatchObject({ messages: 1, events: 1 })
  await sql('UPDATE valija.webhook_outbox SET tries = 1')
  await keep()
  expect(await rowsOf(old)).toMatchObject({ messages: 0, events: 0 })
  expect(await sql('SELECT FROM valija.webhook_outbox')).toEqual([])
})

test('a step takes some messages and no more, and one whose worker died is begun anew', async () => {
  for (let i = 0; i < 130; i++) await mail(short, 3)
  expect(await redactOldMessages(database, short, 1)).toBeGreaterThan(0)
  expect(await sql("SELECT FROM valija.messages WHERE subject <> ''")).toHaveLength(30)
  const place = await deleteOldMessages(database, short, 1, null)
  expect(await sql('SELECT FROM valija.messages')).toHaveLength(30)
  expect(await deleteOldMessages(database, short, 1, place)).toBeNull()
  expect(await sql('SELECT FROM valija.messages')).toEqual([])
})

test('former entries of the suppression list and events about no mail go as well', async () => {
  await set('retention_days = 1')
  for (const tenantId of [short, usual]) {
    await sql(
      `INSERT INTO valija.suppression_removals (id, tenant_id, email, email_key, reason, created_at, removed_at, removed_how)
       VALUES ($1, $2, 'a@b.test', 'a@b.test', 'manual', now() - interval '3 d', now() - interval '2 d', 'deleted')`,
      [ago(3)(), tenantId],
    )
    await sql(
      `INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $2, 'suppression.removed', now(), '{"email": "a@b.test"}')`,
      [ago(2)(), tenantId],
    )
  }
  await keep()
  for (const table of ['suppression_removals', 'events'])
    expect([table, await sql(`SELECT tenant_id FROM valija.${table}`)]).toEqual([
      table,
      [{ tenant_id: usual }],
    ])
})

test('a tenant whose step fails is told of and keeps no other from its turn, whatever their ids', async () => {
  await sql('UPDATE valija.tenants SET retention_days = 1')
  const [ill, well] = [await mail(short, 3), await mail(usual, 3)]
  await owner(
    `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no such luck''; END';
     CREATE TRIGGER refuse BEFORE DELETE ON valija.messages FOR EACH ROW WHEN (OLD.tenant_id = '${short}') EXECUTE FUNCTION public.refuse()`,
  )
  const errors: Error[] = []
  const round = tenantRetentionRounds({
    database,
    stop: new AbortController().signal,
    onError: (error) => errors.push(error),
  })
  expect(await round()).toBe('failed')
  expect(await rowsOf(ill)).toEqual({ ...all, inbox: 0 })
  expect(await rowsOf(well)).toEqual(none)
  expect(errors.map(({ message, cause }) => [message, (cause as Error).message])).toEqual([
    [expect.stringContaining(short.replaceAll('-', '')), 'no such luck'],
  ])
})

test('a round ends in time, whatever is left of a tenant, and those that follow go on where it ended', async () => {
  await sql('UPDATE valija.tenants SET retention_days = 1')
  for (let i = 0; i < 230; i++) await mail(short, 3)
  const theirs = await mail(usual, 3)
  const onError = (error: Error) => errors.push(error)
  const errors: Error[] = []
  // No time at all: one step each.
  const round = tenantRetentionRounds({ database, stop: new AbortController().signal, onError }, 0)
  const kept = async () => (await sql('SELECT FROM valija.messages')).length
  let rounds = 0
  for (; rounds < 30 && (await kept()) > 0; rounds += 1) {
    expect(await round()).toBe('unfinished')
    // Where some of the many are gone, the one of the other tenant is as well.
    if ((await kept()) < 130) expect(await rowsOf(theirs)).toEqual(none)
  }
  expect(rounds).toBeGreaterThan(5)
  expect(await kept()).toBe(0)
  expect(errors).toEqual([])
})

test('what is remembered of mail that was not at its end is forgotten with the mail, and with the setting', async () => {
  await set('redact_after_days = 1')
  const [gone, live] = [await mail(short, 3, { isLive: true }), await mail(short, 2, { isLive: true })]
  await keep()
  const left = async () => (await sql('SELECT message_id FROM valija.unredacted_messages')).length
  expect(await left()).toBe(2)
  await sql('DELETE FROM valija.messages WHERE id = $1', [gone])
  expect(await forgetRedactions(database.engine)).toBe(1)
  expect(await forgetRedactions(database.engine)).toBe(0)
  await set('redact_after_days = NULL')
  await forgetRedactions(database.engine)
  expect(await left()).toBe(0)
  // Whose end came while there was no such setting.
  await sql('DELETE FROM valija.deliveries')
  await set('redact_after_days = 1')
  await keep()
  expect(await rowsOf(live)).toMatchObject({ messages: 1, bodies: 0 })
})

test('whoever waits for a message that an erasure has keeps no digests meanwhile', async () => {
  await set('redact_after_days = 1')
  await mail(short, 4, { isLive: true })
  await keep()
  await sql('DELETE FROM valija.deliveries')
  const next = await mail(short, 3)
  const erasure = await database.engine.connect()
  await erasure.query('BEGIN')
  await erasure.query('SELECT FROM valija.messages WHERE id = $1 FOR UPDATE', [next])
  const redaction = redactOldMessages(database, short, 1)
  try {
    await until('the redaction waits', async () => {
      const { rowCount } = await erasure.query(
        'SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()',
      )
      return rowCount === 1
    })
    const { rows } = await erasure.query(
      `SELECT pg_try_advisory_xact_lock(hashtextextended('valija.message_digests ' || $1::uuid, 0)) AS "isFree"`,
      [short],
    )
    expect(rows).toEqual([{ isFree: true }])
  } finally {
    await erasure.query('ROLLBACK')
    erasure.release()
    await redaction
  }
})
