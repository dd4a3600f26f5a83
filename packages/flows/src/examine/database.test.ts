import type { InstallationFacts, ServerFacts } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { checkOf } from './check.ts'
import { judgeInstallation, judgeServer } from './database.ts'

const server: ServerFacts = {
  version: 180_000,
  versionName: '18.0',
  fsync: true,
  fullPageWrites: true,
  isReadOnly: false,
  freeConnections: 90,
  maxConnections: 100,
  clockOffsetMs: 3,
  roundTripMs: 1,
  localFolder: null,
  databaseSizeBytes: 10_000_000,
  migrations: { pending: [], unknown: [] },
}

const judge = (over: Partial<ServerFacts>) =>
  judgeServer({ kind: 'facts', facts: { ...server, ...over } }).filter(({ status }) => status !== 'ok')

describe('the server', () => {
  test('a good one is well in everything', () => {
    const checks = judgeServer({ kind: 'facts', facts: server })
    expect(checks.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'database ok',
      'connections ok',
      'durability ok',
      'clock ok',
      'schema ok',
    ])
  })

  test.each([
    [{ version: 150_004, versionName: '15.4' }, 'database', 'failed', /too old/, /16 or later/],
    [{ isReadOnly: true }, 'database', 'failed', /only reads/, /primary/],
    [{ freeConnections: 11 }, 'connections', 'warning', /11 of max_connections=100/, /max_connections/],
    [{ fsync: false }, 'durability', 'failed', /lose accepted mail/, /fsync = on/],
    [{ fullPageWrites: false }, 'durability', 'warning', /torn pages/, /full_page_writes = on/],
    [{ clockOffsetMs: 5_000 }, 'clock', 'warning', /5 s behind PostgreSQL/, /chrony/],
    [{ clockOffsetMs: -400_000 }, 'clock', 'failed', /7 min ahead of PostgreSQL/, /chrony/],
    [
      { migrations: { pending: ['1_a', '2_b'], unknown: [] } },
      'schema',
      'failed',
      /2 .* 1_a/,
      /valija -- migrate/,
    ],
    [
      { migrations: { pending: [], unknown: ['9_z'] } },
      'schema',
      'warning',
      /newer version.*9_z/,
      /version that runs/,
    ],
  ] as const)('%j', (over, name, status, detail, fix) => {
    expect(judge(over as Partial<ServerFacts>)).toMatchObject([
      { name, status, detail: expect.stringMatching(detail), fix: expect.stringMatching(fix) },
    ])
  })

  test('an offset that the round trip explains is none', () => {
    expect(judge({ clockOffsetMs: 2_500, roundTripMs: 2_450 })).toEqual([])
  })

  test.each([
    ['28P01', /password/],
    ['53300', /max_connections/],
    ['3D000', /Create the database/],
    ['08P01', /pooler/],
    ['ECONNREFUSED', /Start PostgreSQL/],
    ['ETIMEDOUT', /reachable/],
  ])('one that cannot be reached (%s) is told with what to do', (code, fix) => {
    const error = Object.assign(new Error('what it said'), { code })
    expect(judgeServer({ kind: 'unreachable', error })).toMatchObject([
      {
        name: 'database',
        status: 'failed',
        detail: expect.stringContaining('what it said'),
        fix: expect.stringMatching(fix),
      },
    ])
  })

  test('one that is not to be looked for is told as its place says', () => {
    const check = checkOf('database').skipped('npm start is off')
    expect(judgeServer({ kind: 'absent', check })).toEqual([check])
  })
})

const installation: InstallationFacts = {
  role: 'valija_engine',
  synchronousCommit: 'on',
  secretKey: 'opened',
  olderKeys: 0,
  sealedWithOlderKeys: 0,
  sealedWithUnknownKeys: 0,
  daysWithPartitions: 15,
  daysWanted: 14,
  days: 17,
  locks: { perConnection: 64, connections: 100 },
  strayRows: 0,
  oldestDueMs: { transactional: 0, bulk: 0 },
  workers: 1,
  hasQueueTables: true,
  mxRoutes: 0,
}

describe('what is kept there', () => {
  const wrong = (over: Partial<InstallationFacts>) =>
    judgeInstallation({ kind: 'facts', facts: { ...installation, ...over } }, 7).filter(
      ({ fix }) => fix !== null,
    )

  test.each([
    [{ days: 106 }, 7, 106, 15_264, 153],
    [{}, 90, 106, 15_264, 153],
    [{ days: 400, locks: { perConnection: 128, connections: 200 } }, 7, 400, 57_600, 288],
  ])(
    'locks are short where the days that are kept, or will be, take more: %j, %i',
    (over, keptDays, days, locks, wanted) => {
      const look = { kind: 'facts' as const, facts: { ...installation, ...over } }
      expect(judgeInstallation(look, keptDays).filter(({ fix }) => fix !== null)).toMatchObject([
        {
          name: 'locks',
          status: 'warning',
          detail: expect.stringContaining(`${days} days take up to ${locks}`),
          fix: expect.stringContaining(`max_locks_per_transaction to ${wanted} or more`),
        },
      ])
      const enough = { ...look.facts, locks: { perConnection: 300, connections: 200 } }
      expect(judgeInstallation({ kind: 'facts', facts: enough }, keptDays).at(-1)).toMatchObject({
        name: 'locks',
        status: 'ok',
      })
    },
  )

  test('is well when sessions, key and partitions are', () => {
    expect(wrong({})).toEqual([])
  })

  test.each([
    [{ role: 'postgres' }, 'sessions', 'failed', /role postgres/, /pooler/],
    [{ synchronousCommit: 'off' }, 'sessions', 'failed', /synchronous_commit off/, /pooler/],
    [{ secretKey: 'other_key' }, 'secret_key', 'failed', /another VALIJA_SECRET_KEY/, /"new,old"/],
    [{ secretKey: 'retired_key' }, 'secret_key', 'failed', /was retired/, /"new,old"/],
    [{ sealedWithUnknownKeys: 3 }, 'secret_key', 'warning', /3 stored secrets/, /"new,old".*Secrets/],
    [{ daysWithPartitions: 0 }, 'partitions', 'failed', /today/, /Run a worker/],
    [{ daysWithPartitions: 6 }, 'partitions', 'warning', /6 days/, /Run a worker/],
    [{ strayRows: 4 }, 'partitions', 'warning', /4 rows/, /operations\.md/],
  ] as const)('%j', (over, name, status, detail, fix) => {
    expect(wrong(over)).toMatchObject([
      { name, status, detail: expect.stringMatching(detail), fix: expect.stringMatching(fix) },
    ])
  })

  test.each([
    [{ olderKeys: 1, sealedWithOlderKeys: 2 }, /still needed/],
    [{ olderKeys: 1, sealedWithOlderKeys: 0 }, /nothing needs the older keys but bounces .* 60 days/],
  ])('an older key is told to be needed or not: %j', (over, detail) => {
    const checks = judgeInstallation({ kind: 'facts', facts: { ...installation, ...over } }, 7)
    expect(checks.find(({ name }) => name === 'secret_key')).toMatchObject({
      status: 'ok',
      detail: expect.stringMatching(detail),
    })
  })

  test('a key that was not given is not judged', () => {
    const checks = judgeInstallation({ kind: 'facts', facts: { ...installation, secretKey: 'not_given' } }, 7)
    expect(checks.find(({ name }) => name === 'secret_key')).toMatchObject({ status: 'skipped' })
  })

  test('roles that were not granted are told with the grant', () => {
    const error = Object.assign(new Error('permission denied to set role'), { code: '42501' })
    expect(judgeInstallation({ kind: 'unreadable', error }, 7)).toMatchObject([
      { name: 'sessions', status: 'failed', fix: expect.stringContaining('GRANT valija_engine') },
    ])
  })

  test('without the database all of it is skipped', () => {
    expect(judgeInstallation({ kind: 'absent' }, 7).every(({ status }) => status === 'skipped')).toBe(true)
  })
})
