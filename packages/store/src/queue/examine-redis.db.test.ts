import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRedis, type TestRedis } from '../../../../tests/support/redis.ts'
import { needsProgram } from '../../../../tests/support/until.ts'
import { readRedisFacts } from './examine-redis.ts'

describe.skipIf(needsProgram('redis-server'))('Redis', () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.remove())

  test('tells its version, policy, persistence and memory', async () => {
    const facts = await readRedisFacts(redis.url)
    expect(facts).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+/),
      evictionPolicy: 'noeviction',
      isReplica: false,
      hasAppendOnlyFile: true,
      isDiskFailing: false,
      maxMemoryBytes: null,
    })
    expect(facts.usedMemoryBytes).toBeGreaterThan(100_000)
  })

  test('tells what was changed since', async () => {
    await redis.command('CONFIG SET maxmemory-policy allkeys-lru')
    await redis.command('CONFIG SET maxmemory 100mb')
    expect(await readRedisFacts(redis.url)).toMatchObject({
      evictionPolicy: 'allkeys-lru',
      maxMemoryBytes: 100 * 2 ** 20,
    })
  })

  test('a replica is one', async () => {
    await redis.command('REPLICAOF 127.0.0.1 1')
    expect((await readRedisFacts(redis.url)).isReplica).toBe(true)
    await redis.command('REPLICAOF NO ONE')
  })

  test('that wants a password says so', async () => {
    await redis.command('CONFIG SET requirepass secret')
    await expect(readRedisFacts(redis.url)).rejects.toThrow('NOAUTH')
    const url = redis.url.replace('redis://', 'redis://:secret@')
    expect(await readRedisFacts(url)).toMatchObject({ isReplica: false })
  })
})

test('one that is not there rejects with what the network said', async () => {
  await expect(readRedisFacts('redis://127.0.0.1:1')).rejects.toThrow('ECONNREFUSED')
})
