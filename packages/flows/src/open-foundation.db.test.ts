/** What every process stands on: how it ends. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { openFoundation } from './open-foundation.ts'

test('a connection that the server ends while it is closed is no trouble to tell of', async () => {
  const made = await createDatabase()
  const told: Error[] = []
  const foundation = await openFoundation({
    databaseUrl: made.url,
    redisUrl: null,
    secretKeys: ['0123456789abcdef'.repeat(4)],
    onError: (error) => told.push(error),
  })
  // Each pool has a connection that is idle.
  await Promise.all([foundation.database.engine.query('SELECT'), foundation.database.tenant.query('SELECT')])
  foundation.wake.send('inbox')
  const operator = new pg.Client(made.url)
  await operator.connect()
  const closed = foundation.close()
  await operator.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  )
  await closed
  await operator.end()
  await made.drop()
  expect(told.filter(({ message }) => /terminating connection/.test(message))).toEqual([])
})
