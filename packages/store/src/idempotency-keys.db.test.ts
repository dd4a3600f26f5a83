/** Keys that are claimed while somebody is erased whom they name: on a real PostgreSQL. */
import { createIdSource } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { acceptMessages } from './accept-messages.ts'
import { encodeBody } from './body-codec.ts'
import { type Database, openDatabase } from './database.ts'
import { stepErasure } from './erase-recipients.ts'
import { insertErasure } from './erasures.ts'
import { findStoredAnswer, idempotencyKeptMs } from './idempotency-keys.ts'
import { makeMessage } from './make-message.test-support.ts'

const nextId = createIdSource(Date.now)
const tenantId = nextId()
let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterAll(async () => {
  await database?.close()
  await target?.drop()
})

const hide = (_: string, key: string) => `hidden ${key}`
const bodyHash = Buffer.alloc(32)

/** A mail to Ann and to Ben. */
function mailToBoth(key: string) {
  const made = makeMessage(nextId, tenantId)
  const recipients = ['ann@example.org', 'ben@example.org'].map((email) => {
    return { ...made.recipients[0]!, id: nextId(), email, emailKey: email }
  })
  const expiresAtMs = made.createdAtMs + idempotencyKeptMs
  const bytes = Buffer.from('From: hi@acme.test\r\n\r\nHello\r\n')
  return {
    ...{ ...made, recipients },
    body: encodeBody({ kind: 'raw', bytes, needsSmtpUtf8: false }),
    idempotency: { key, hiddenNames: [hide(tenantId, key)], bodyHash, response: '{}', expiresAtMs },
  }
}

async function accept(key: string) {
  const { results } = await acceptMessages(database.engine, [mailToBoth(key)], { directShare: 9 })
  return results[0]?.kind
}

test('a repetition that looked before the first was there, and claims after a recipient was erased whom the key names, is none', async () => {
  const key = 'welcome-ann@example.org'
  expect(await findStoredAnswer(database.engine, tenantId, [key, hide(tenantId, key)])).toBeNull()
  expect(await accept(key)).toBe('accepted')
  await database.engine.query('DELETE FROM valija.deliveries')
  const { id } = await insertErasure(database, {
    ...{ id: nextId(), tenantId },
    emailKey: 'ann@example.org',
    placeholder: 'erased-0@erased.invalid',
  })
  while ((await stepErasure(database, id, hide)) === 'more');
  const { rows } = await database.engine.query('SELECT key FROM valija.idempotency_keys')
  expect(rows).toEqual([{ key: hide(tenantId, key) }])
  // What was asked for is not known any more, so it is not answered again either.
  expect(await accept(key)).toBe('reused')
  const sent = await database.engine.query("SELECT FROM valija.recipients WHERE email = 'ben@example.org'")
  expect(sent.rowCount).toBe(1)
})
