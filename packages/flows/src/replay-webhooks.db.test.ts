/** The workers' part in telling again: one replay's trouble is no other's. */
import { createIdSource } from '@valija/core'
import {
  type Database,
  openDatabase,
  openWake,
  replayWaiting,
  stepWebhookReplay,
  type Wake,
} from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createWebhookReplayer } from './replay-webhooks.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
let made: TestDatabase
let database: Database
let wake: Wake
beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => {} })
  wake = await openWake(made.url, () => {})
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await made.drop()
})

test('a replay whose steps fail is told of, and keeps no other from its steps', async () => {
  const webhookId = nextId()
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://a.test/', '{*}', '')`,
    [webhookId, tenantId],
  )
  // Of a time that no id can have: forty of them, so that some come before the others whatever the order.
  await database.engine.query(
    `INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind, after_at, before_at)
     SELECT valija.new_id(), $1, $2, 'range', '-infinity', 'infinity' FROM generate_series(1, 40)`,
    [tenantId, webhookId],
  )
  await database.engine.query(
    `INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind)
     SELECT valija.new_id(), $1, $2, 'waiting' FROM generate_series(1, 40)`,
    [tenantId, webhookId],
  )
  const errors: Error[] = []
  const replayer = createWebhookReplayer({ database, wake, onError: (error) => errors.push(error) })
  replayer.start()
  await until('the end of the others', async () => {
    const { rows } = await database.engine.query(`SELECT FROM valija.webhook_replays WHERE kind = 'waiting'`)
    return rows.length === 0
  })
  await replayer.stop()
  expect(errors.length).toBeGreaterThan(0)
  const { rows } = await database.engine.query('SELECT FROM valija.webhook_replays')
  expect(rows).toHaveLength(40)
})

test('a replay whose worker has gone between two steps is gone on with by another, and doubles nothing', async () => {
  const webhookId = nextId()
  await database.engine.query('DELETE FROM valija.webhook_replays')
  await database.engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://b.test/', '{*}', '')`,
    [webhookId, tenantId],
  )
  const count = 1_500
  await database.engine.query(
    `INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at)
     SELECT $1, valija.new_id(), $2, now() + interval '1 h' FROM generate_series(1, $3)`,
    [webhookId, tenantId, count],
  )
  const replayId = nextId()
  await replayWaiting(database, { id: webhookId, tenantId, replayId })
  expect(await stepWebhookReplay(database, replayId)).toBe('more')
  const rows = async () =>
    (
      await database.engine.query<{ all: number; due: number; most: number }>(
        `SELECT count(*)::int AS all, (count(*) FILTER (WHERE due_at <= now()))::int AS due, max(asked_tries) AS most
         FROM valija.webhook_outbox WHERE webhook_id = $1`,
        [webhookId],
      )
    ).rows[0]!
  expect((await rows()).due).toBeLessThan(count)
  const replayer = createWebhookReplayer({
    database,
    wake,
    onError: (error) => expect.unreachable(error.message),
  })
  replayer.start()
  await until('all of it due', async () => (await rows()).due === count)
  await replayer.stop()
  expect(await rows()).toEqual({ all: count, due: count, most: 1 })
})
