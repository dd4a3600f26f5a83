import type { InstallationFacts, RedisFacts } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { judgeBacklog, judgePostgresQueue, judgeRedis } from './queue.ts'

const redis: RedisFacts = {
  product: 'Redis',
  version: '7.2.4',
  redisVersion: '7.2.4',
  evictionPolicy: 'noeviction',
  isReplica: false,
  hasAppendOnlyFile: true,
  isDiskFailing: false,
  usedMemoryBytes: 1_000_000,
  maxMemoryBytes: null,
}

describe('Redis', () => {
  test('a good one is well, and so is a Valkey by the Redis that it stands for', () => {
    expect(judgeRedis({ kind: 'facts', facts: redis })).toMatchObject([{ status: 'ok' }])
    const valkey = { ...redis, product: 'Valkey' as const, version: '8.1.0' }
    expect(judgeRedis({ kind: 'facts', facts: valkey })).toMatchObject([
      { status: 'ok', detail: expect.stringContaining('Valkey 8.1.0') },
    ])
  })

  test.each([
    [{ evictionPolicy: 'allkeys-lru' }, 'failed', /allkeys-lru/, /CONFIG SET maxmemory-policy noeviction/],
    [{ redisVersion: '4.0.14', version: '4.0.14' }, 'failed', /4\.0\.14 is too old/, /6\.2\.0/],
    [{ redisVersion: '6.0.16', version: '6.0.16' }, 'warning', /old version/, /6\.2\.0/],
    [{ isReplica: true }, 'failed', /replica/, /primary/],
    [{ isDiskFailing: true }, 'failed', /disk/, /Make room/],
    [{ maxMemoryBytes: 1_050_000 }, 'warning', /maxmemory/, /Raise maxmemory/],
  ] as const)('%j', (over, status, detail, fix) => {
    expect(judgeRedis({ kind: 'facts', facts: { ...redis, ...over } })).toMatchObject([
      { name: 'queue', status, detail: expect.stringMatching(detail), fix: expect.stringMatching(fix) },
    ])
  })

  test('no persistence is no fault: PostgreSQL has the mail', () => {
    const facts = { ...redis, hasAppendOnlyFile: false, evictionPolicy: null }
    expect(judgeRedis({ kind: 'facts', facts })).toMatchObject([{ status: 'ok' }])
  })

  test('one that cannot be reached is told with what it said', () => {
    const error = new Error('WRONGPASS invalid username-password pair')
    expect(judgeRedis({ kind: 'unreachable', error })).toMatchObject([
      {
        status: 'failed',
        detail: expect.stringContaining('WRONGPASS'),
        fix: expect.stringContaining('REDIS_URL'),
      },
    ])
  })
})

const facts = (over: Partial<InstallationFacts>) =>
  ({
    kind: 'facts',
    facts: {
      oldestDueMs: { transactional: 0, bulk: 0 },
      workers: 1,
      hasQueueTables: true,
      ...over,
    } as InstallationFacts,
  }) as const

test('the queue in PostgreSQL wants its tables', () => {
  expect(judgePostgresQueue(facts({}))).toMatchObject([{ status: 'ok' }])
  expect(judgePostgresQueue(facts({ hasQueueTables: false }))).toMatchObject([
    { status: 'failed', fix: expect.stringContaining('migrate') },
  ])
  expect(judgePostgresQueue({ kind: 'absent' })).toMatchObject([{ status: 'skipped' }])
})

test.each([
  [{}, 'ok', null],
  [{ oldestDueMs: { transactional: 59_000, bulk: 59_000 }, workers: 0 }, 'ok', null],
  [{ oldestDueMs: { transactional: 90_000, bulk: 0 } }, 'warning', /more workers/],
  [{ oldestDueMs: { transactional: 0, bulk: 3_600_000 } }, 'ok', null],
  [{ oldestDueMs: { transactional: 0, bulk: 3 * 86_400_000 } }, 'warning', /whether they send any/],
  [{ oldestDueMs: { transactional: 0, bulk: 90_000 }, workers: 0 }, 'warning', /valija -- worker/],
  [{ oldestDueMs: { transactional: 3_600_000, bulk: 0 }, workers: 0 }, 'failed', /valija -- worker/],
] as const)('mail that waits for workers: %j', (over, status, fix) => {
  expect(judgeBacklog(facts(over))).toMatchObject([
    { name: 'backlog', status, fix: fix === null ? null : expect.stringMatching(fix) },
  ])
})
