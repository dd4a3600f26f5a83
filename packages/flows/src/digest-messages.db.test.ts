/** Digests are made beside the mail, not instead of it. */
import { createIdSource } from '@valija/core'
import { type Database, openDatabase } from '@valija/store'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { digestRounds } from './digest-messages.ts'

const nextId = createIdSource(Date.now)
const [large, small] = [nextId(), nextId()]
let made: TestDatabase
let database: Database

beforeAll(async () => {
  made = await createDatabase()
  database = openDatabase({ url: made.url, onError: () => undefined })
  await database.engine.query(
    `INSERT INTO valija.tenants (id, name) VALUES ($1::uuid, 'large'), ($2::uuid, 'small')`,
    [large, small],
  )
  // Ten minutes ago; a step takes 2,048 of them.
  for (const [tenantId, count] of [[large, 4_500] as const, [small, 600] as const])
    await database.engine.query(
      `INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags, metadata, expires_at,
         rfc_message_id, is_simulated, recipient_count)
       SELECT uuidv7(-age), $1, now() - age, 'transactional', 'mx', '', 'hi@acme.test', 'acme.test', 'Order ' || n, '{}', '{}', now(), '', false, 1
       FROM (SELECT n, interval '10 min' - n * interval '1 ms' AS age FROM generate_series(1, $2) AS n) AS made`,
      [tenantId, count],
    )
})
beforeEach(() => database.engine.query('DELETE FROM valija.message_digests'))
afterAll(async () => {
  await database.close()
  await made.drop()
})

const digestsOf = async (tenantId: string) =>
  (await database.engine.query('SELECT FROM valija.message_digests WHERE tenant_id = $1', [tenantId]))
    .rowCount

test('a round makes all that are whole', async () => {
  await digestRounds({ database, stop: new AbortController().signal, restFactor: 0 })()
  expect([await digestsOf(large), await digestsOf(small)]).toEqual([8, 1])
})

test('after a step it rests, and a stop ends the rest', async () => {
  const stop = new AbortController()
  const startedAtMs = performance.now()
  const working = digestRounds({ database, stop: stop.signal, restFactor: 1_000_000 })()
  await expect
    .poll(async () => [await digestsOf(large), await digestsOf(small)].join())
    .toMatch(/^(?:4,0|0,1)$/)
  const before = [await digestsOf(large), await digestsOf(small)]
  stop.abort()
  await working
  expect(performance.now() - startedAtMs).toBeLessThan(20_000)
  expect([await digestsOf(large), await digestsOf(small)]).toEqual(before)
})
