import { describe, expect, test } from 'vitest'
import {
  type LatencyCount,
  lastLatencyBucket,
  latencyBucketSql,
  latencyBucketStartMs,
  latencyPercentiles,
} from './latency-buckets.ts'

/** As latencyBucketSql has it. */
const bucketOf = (ms: number) => Math.min(lastLatencyBucket, Math.floor(4 * Math.log2(Math.max(1, ms))))

function counted(latenciesMs: readonly number[]): LatencyCount[] {
  const counts = new Map<number, number>()
  for (const ms of latenciesMs) counts.set(bucketOf(ms), (counts.get(bucketOf(ms)) ?? 0) + 1)
  return [...counts].map(([bucket, count]) => ({ bucket, count }))
}

describe('percentiles', () => {
  test('of nothing are none', () => {
    expect(latencyPercentiles([])).toBeNull()
    expect(latencyPercentiles([{ bucket: 3, count: 0 }])).toBeNull()
  })

  test.each([
    ['even', (n: number) => n],
    ['mostly short with a long tail', (n: number) => 20 * 1.01 ** n],
    ['all alike', () => 777],
    ['of two kinds', (n: number) => (n % 20 === 0 ? 3_600_000 : 35)],
  ])('are within 19 %% of the true ones where latencies are %s', (_, latency) => {
    const sorted = Array.from({ length: 1_000 }, (_, n) => latency(n + 1)).sort((a, b) => a - b)
    const told = latencyPercentiles(counted(sorted))!
    for (const [name, rank] of [
      ['p50', 500],
      ['p95', 950],
      ['p99', 990],
    ] as const) {
      const truth = sorted[rank - 1]!
      expect(told[name] / truth, name).toBeGreaterThan(1 / 1.19)
      expect(told[name] / truth, name).toBeLessThan(1.19)
    }
  })

  test('of latencies under a millisecond, and of weeks, are told by the ends', () => {
    expect(latencyPercentiles(counted([0, 0.2]))!.p99).toBeLessThanOrEqual(2)
    const { p50 } = latencyPercentiles(counted([30 * 86_400_000]))!
    expect(p50).toBeGreaterThan(3 * 86_400_000)
  })
})

test('a bucket is a quarter of an octave, and the last one begins at three days', () => {
  expect(latencyBucketStartMs(4) / latencyBucketStartMs(0)).toBe(2)
  expect(latencyBucketStartMs(lastLatencyBucket)).toBeGreaterThan(3 * 86_400_000)
  expect(latencyBucketSql('x')).toContain('least(112')
})
