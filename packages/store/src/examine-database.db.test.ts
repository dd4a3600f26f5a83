import { createSealer } from '@valija/core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, createEmptyDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { readInstallationFacts, readServerFacts } from './examine-database.ts'
import { assertSameSecretKey } from './instance.ts'
import { openLeadership } from './leadership.ts'
import { partitionedTables } from './maintenance.ts'

// One database for all: each test leaves it as it found it, but for what no later one looks at.
const closers: (() => unknown)[] = []
let target: TestDatabase
let database: Database
beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

/** As the owner of the tables. */
async function change(sql: string): Promise<void> {
  await database.engine.query(`SET ROLE NONE; ${sql}; SET ROLE valija_engine`)
}

describe('the server', () => {
  test('tells its version, settings, room, clock, folder and migrations', async () => {
    const facts = await readServerFacts(target.url)
    expect(facts).toMatchObject({
      version: expect.any(Number),
      // As the tests' own cluster is set (tests/support/cluster.ts).
      fullPageWrites: false,
      isReadOnly: false,
      localFolder: expect.stringMatching(/^\//),
      migrations: { pending: [], unknown: [] },
    })
    expect(facts.version).toBeGreaterThanOrEqual(160_000)
    expect(facts.freeConnections).toBeGreaterThan(0)
    expect(facts.freeConnections).toBeLessThan(facts.maxConnections)
    expect(Math.abs(facts.clockOffsetMs)).toBeLessThan(1_000)
    expect(facts.databaseSizeBytes).toBeGreaterThan(1_000_000)
  })

  test('without anything of ours has all migrations pending', async () => {
    const empty = await createEmptyDatabase()
    closers.push(() => empty.drop())
    const { migrations } = await readServerFacts(empty.url)
    expect(migrations.pending[0]).toBe('20261123000000_init')
  })

  test('after a newer version has a migration that is unknown', async () => {
    await change(
      `INSERT INTO valija._prisma_migrations (id, checksum, migration_name, finished_at)
       VALUES ('x', 'x', '99990101000000_later', now())`,
    )
    closers.push(() => change(`DELETE FROM valija._prisma_migrations WHERE id = 'x'`))
    expect((await readServerFacts(target.url)).migrations.unknown).toEqual(['99990101000000_later'])
  })

  test('with a limit of the database has that much room', async () => {
    const name = new URL(target.url).pathname.slice(1)
    await change(`ALTER DATABASE ${name} CONNECTION LIMIT 9`)
    closers.push(() => change(`ALTER DATABASE ${name} CONNECTION LIMIT -1`))
    expect((await readServerFacts(target.url)).freeConnections).toBeLessThan(9)
  })

  test('that is not there rejects', async () => {
    await expect(readServerFacts('postgresql://127.0.0.1:1/x')).rejects.toThrow('ECONNREFUSED')
  })
})

describe('our tables', () => {
  const sealer = createSealer(['a-secret-key-of-this-test'])

  test('tell that sessions are ours, all days are there, and nobody waits', async () => {
    expect(await readInstallationFacts(database, null)).toEqual({
      role: 'valija_engine',
      synchronousCommit: 'on',
      secretKey: 'not_given',
      olderKeys: 0,
      sealedWithOlderKeys: 0,
      sealedWithUnknownKeys: 0,
      daysWithPartitions: 15,
      daysWanted: 14,
      days: expect.any(Number),
      locks: { perConnection: expect.any(Number), connections: 300 },
      strayRows: 0,
      oldestDueMs: { transactional: 0, bulk: 0 },
      workers: 0,
      hasQueueTables: true,
      mxRoutes: 0,
    })
  })

  test('tell whose secret key it is, and do not bind themselves to the one that looks', async () => {
    expect((await readInstallationFacts(database, sealer)).secretKey).toBe('none')
    expect((await readInstallationFacts(database, sealer)).secretKey).toBe('none')
    await assertSameSecretKey(database, sealer)
    expect((await readInstallationFacts(database, sealer)).secretKey).toBe('opened')
    const other = createSealer(['another-secret-key-of-this-test'])
    expect((await readInstallationFacts(database, other)).secretKey).toBe('other_key')
  })

  test('tell how many workers are connected', async () => {
    const leadership = openLeadership(target.url, 'dispatch', () => undefined)
    closers.push(() => leadership.close())
    expect(await leadership.isHeld()).toBe(true)
    expect((await readInstallationFacts(database, null)).workers).toBe(1)
  })

  test('tell that the queue has no tables', async () => {
    await change('DROP SCHEMA bullmq CASCADE')
    expect((await readInstallationFacts(database, null)).hasQueueTables).toBe(false)
  })

  test.each([
    [3, 3],
    [0, 0],
  ])('tell of the first day without a partition: %i', async (day, days) => {
    const { rows } = await database.engine.query<{ name: string }>(
      `SELECT 'valija_parts.' || $1 || to_char((now() AT TIME ZONE 'UTC')::date + $2::int, '_YYYYMMDD') AS name`,
      [partitionedTables.at(-1), day],
    )
    await change(`DROP TABLE ${rows[0]?.name}`)
    expect((await readInstallationFacts(database, null)).daysWithPartitions).toBe(days)
  })
})
