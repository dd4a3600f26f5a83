/** What is kept of an acceptance that PostgreSQL was too slow for: on a real PostgreSQL. */
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { type Database, openDatabase } from './database.ts'
import { makeMessage } from './make-message.test-support.ts'

let target: TestDatabase
let database: Database
let tenantId: Uuid
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  tenantId = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

const accept = (message: NewMessage, inMs: number) =>
  acceptMessages(database.engine, [message], { directShare: 9, commitByMs: performance.now() + inMs })

/** Somebody has a table that the acceptance reads: its statement waits. */
async function lockWebhooks(): Promise<pg.Client> {
  const holder = new pg.Client(target.url)
  await holder.connect()
  await holder.query('BEGIN; LOCK TABLE valija.webhooks')
  return holder
}

const idempotency = (key: string) => ({
  key,
  bodyHash: Buffer.alloc(32),
  response: '{}',
  expiresAtMs: Date.now() + 3_600_000,
})

test.each([
  ['without an Idempotency-Key', null],
  ['with one', idempotency('slow')],
])('a message %s that could not be committed in its time is never committed', async (_, key) => {
  const message = makeMessage(nextId, tenantId, { idempotency: key })
  const holder = await lockWebhooks()
  await expect(accept(message, 500)).rejects.toThrow()
  await holder.query('COMMIT')
  await holder.end()
  await until('nothing is under way', async () => {
    const busy = await database.engine.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
       AND backend_type = 'client backend'`,
    )
    return busy.rowCount === 0
  })
  const kept = await database.engine.query('SELECT FROM valija.messages WHERE id = $1', [message.id])
  expect(kept.rowCount).toBe(0)
  // The connections that it had are good for the next.
  expect((await accept(message, 30_000)).results).toMatchObject([{ kind: 'accepted' }])
})

test('a message whose time is over is not begun', async () => {
  const message = makeMessage(nextId, tenantId)
  await expect(accept(message, 0)).rejects.toMatchObject({ code: 'database_unavailable' })
  const kept = await database.engine.query('SELECT FROM valija.messages WHERE id = $1', [message.id])
  expect(kept.rowCount).toBe(0)
})
