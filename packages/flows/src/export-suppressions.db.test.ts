/** What only a PostgreSQL that goes away shows; the rest is in the tests of the route. */
import { createIdSource } from '@valija/core'
import { openDatabase } from '@valija/store'
import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { startDatabaseProxy } from '../../../tests/support/database-proxy.ts'
import { exportSuppressions } from './export-suppressions.ts'

test('an export goes on when PostgreSQL is away in the middle of it', async () => {
  const made = await createDatabase()
  const proxy = await startDatabaseProxy(made.url)
  let hasFailed = () => {}
  const failed = new Promise<void>((resolve) => {
    hasFailed = resolve
  })
  const database = openDatabase({ url: proxy.urlFor(made.url), onError: () => undefined })
  const tenantId = createIdSource(Date.now)()
  const owner = new pg.Client(made.url)
  await owner.connect()
  await owner.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
  await owner.query(
    `INSERT INTO valija.suppressions (id, tenant_id, email_key, email, reason)
     SELECT valija.new_id(), $1, 'a' || i || '@example.test', 'a' || i || '@example.test', 'manual' FROM generate_series(1, 2500) AS i`,
    [tenantId],
  )
  await owner.end()
  const connect = database.tenant.connect.bind(database.tenant)
  Object.assign(database.tenant, {
    connect: () =>
      connect().catch((error: unknown) => {
        hasFailed()
        throw error
      }),
  })
  const pieces = await exportSuppressions({ database }, { tenantId }, {}, new AbortController().signal)
  proxy.refuse()
  const rest = readAll(pieces)
  await failed
  proxy.mend()
  expect((await rest).trimEnd().split('\r\n')).toHaveLength(2_501)
  await database.close()
  await proxy.stop()
  await made.drop()
})

async function readAll(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  return text
}
