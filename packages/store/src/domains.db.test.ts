/**
 * Domains under concurrency: changes and claims of one name never end in an error of PostgreSQL's, a tenant's domains are bounded, and
 * looks by the clock come round to every tenant.
 */
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { type Database, openDatabase } from './database.ts'
import { claimDueDomains, type DomainLook, keepDomainLook } from './domain-checks.ts'
import {
  insertPendingDomain,
  insertVouchedDomain,
  maxDomains,
  type StoredDomain,
  updateDomain,
} from './domains.ts'

const nextId = createIdSource(Date.now)
const [mine, theirs] = [nextId(), nextId()]
let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  // The product looks for a circle once, so long after it began to wait: by then the test's own lock has to close it, on a busy machine too.
  // Shorter than the 5 s that Prisma gives a transaction.
  const owner = new pg.Client(target.url)
  await owner.connect()
  await owner.query(`ALTER DATABASE ${new URL(target.url).pathname.slice(1)} SET deadlock_timeout = '3s'`)
  await owner.end()
  database = openDatabase({ url: target.url, onError: () => undefined })
  for (const tenantId of [mine, theirs]) {
    await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, tenantId])
  }
})
beforeEach(() => database.engine.query('DELETE FROM valija.domains'))
afterAll(async () => {
  await database.close()
  await target.drop()
})

const newDomain = (tenantId: Uuid, name: string) => ({
  ...{ id: nextId(), tenantId, name, token: tenantId, signsDkim: false },
  ...{ dkimAlgorithms: ['ed25519' as const], dkimKeys: [] },
})
const pending = (tenantId: Uuid, name: string) =>
  insertPendingDomain(database, { ...newDomain(tenantId, name), status: 'pending', isVouched: false })
const vouched = (tenantId: Uuid, name: string) =>
  insertVouchedDomain(database, { ...newDomain(tenantId, name), status: 'verified', isVouched: true })
const added = async (adding: Promise<StoredDomain | string>) => (await adding) as StoredDomain
const change = ({ tenantId, id }: StoredDomain, changes: Partial<StoredDomain> = {}) =>
  updateDomain(database, tenantId, id, (present) => ({ ...pick(present), ...changes }))
function pick({ status, isVouched, signsDkim, dkimAlgorithms, returnPathLabel, failingSince }: StoredDomain) {
  return { status, isVouched, signsDkim, dkimAlgorithms, returnPathLabel, failingSince }
}
const proven: DomainLook = { checks: [], proof: 'seen', provesToken: () => false, watched: [] }

/** A connection beside the product's, which is nobody's victim when locks are in a circle. */
async function beside(work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(target.url)
  await client.connect()
  await client.query("SET deadlock_timeout = '1min'")
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
const lockName = (client: pg.Client, name: string) =>
  client.query(`SELECT pg_advisory_xact_lock(hashtextextended('valija.domain:' || $1, 0))`, [name])
const untilWaiting = (count: number) =>
  until(`${count} sessions wait for a lock`, async () => {
    const { rows } = await database.engine.query(
      `SELECT count(DISTINCT pid)::int AS waiting FROM pg_locks
       WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`,
    )
    return rows[0].waiting === count
  })

describe('locks', () => {
  test('a claim of a name and a change of its holder wait for each other, in one order', async () => {
    const held = await added(vouched(theirs, 'held.test'))
    const wanted = await added(pending(mine, 'held.test'))
    await beside(async (client) => {
      await client.query('BEGIN')
      await lockName(client, 'held.test')
      const claim = keepDomainLook(database, wanted, proven)
      await untilWaiting(1)
      const both = Promise.allSettled([claim, change(held)])
      await untilWaiting(2)
      await client.query('COMMIT')
      expect(await both).toMatchObject([
        { status: 'fulfilled', value: 'elsewhere' },
        { status: 'fulfilled', value: { name: 'held.test' } },
      ])
    })
  })

  test('a change that meets a deadlock all the same is made again', async () => {
    const domain = await added(vouched(mine, 'circle.test'))
    await beside(async (client) => {
      await client.query('BEGIN')
      await client.query('SELECT FROM valija.domains WHERE id = $1 FOR UPDATE', [domain.id])
      const changing = Promise.allSettled([change(domain, { returnPathLabel: 'other' })])
      await untilWaiting(1)
      await lockName(client, 'circle.test')
      await client.query('COMMIT')
      expect(await changing).toMatchObject([{ value: { returnPathLabel: 'other' } }])
    })
  })
})

describe('the next look', () => {
  const dueIn = async ({ id }: StoredDomain) => {
    const sql =
      'SELECT extract(epoch FROM next_check_at - now())::float8 AS seconds FROM valija.domains WHERE id = $1'
    return (await database.engine.query<{ seconds: number }>(sql, [id])).rows[0]!.seconds
  }

  test('comes forward when the return path is another, or nobody vouches any more', async () => {
    const [moved, left, other] = [
      await added(vouched(mine, 'moved.test')),
      await added(vouched(mine, 'left.test')),
      await added(vouched(mine, 'other.test')),
    ]
    await database.engine.query(`UPDATE valija.domains SET next_check_at = now() + interval '1 day'`)
    await change(moved, { returnPathLabel: 'mail' })
    await change(left, { isVouched: false, status: 'pending' })
    await change(other, { signsDkim: true })
    expect(await dueIn(moved)).toBeLessThanOrEqual(0)
    expect(await dueIn(left)).toBeLessThanOrEqual(0)
    expect(await dueIn(other)).toBeGreaterThan(86_000)
  })

  test('of thousands of one tenant keeps nobody else waiting', async () => {
    const fill = (tenantId: Uuid, count: number, dueFor: string) =>
      database.engine.query(
        `INSERT INTO valija.domains (id, tenant_id, name, token, next_check_at)
         SELECT gen_random_uuid(), $1, n || '.test', 't', now() - $3::interval FROM generate_series(1, $2) AS n`,
        [tenantId, count, dueFor],
      )
    await fill(mine, 3_000, '1 day')
    await fill(theirs, 2, '1 second')
    const tenantsOf = async (limit: number, passed: Uuid[] = []) =>
      (await claimDueDomains(database.engine, limit, passed)).map(({ tenantId }) => tenantId)
    expect(await tenantsOf(8)).toEqual([mine])
    expect(await tenantsOf(8, [mine])).toEqual([theirs])
    expect(await tenantsOf(8, [mine])).toEqual([theirs])
    expect(await tenantsOf(8, [mine])).toEqual([])
    expect(await tenantsOf(8)).toEqual([mine])
  })
})

test('a tenant has so many domains and no more, whoever adds them', async () => {
  await database.engine.query(
    `INSERT INTO valija.domains (id, tenant_id, name, token)
     SELECT gen_random_uuid(), $1, n || '.test', 't' FROM generate_series(1, $2) AS n`,
    [mine, maxDomains - 1],
  )
  expect(await pending(mine, 'one.example')).toMatchObject({ name: 'one.example' })
  expect(await pending(mine, 'three.example')).toBe('full')
  expect(await vouched(mine, 'three.example')).toBe('full')
  expect(await pending(theirs, 'three.example')).toMatchObject({ name: 'three.example' })
})
