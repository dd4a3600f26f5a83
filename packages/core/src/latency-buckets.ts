/**
 * Latencies as counts in buckets: what can be added up over hours, streams and providers, and of which percentiles can still be told.
 *
 * Four buckets per octave, from 1 ms up: bucket b holds what took from 2^(b/4) to 2^((b+1)/4) ms. A percentile that is told thus lies in the
 * same bucket as the true one, and is off by less than 2^(1/4) − 1 = 19 % of it, mostly by much less: within a bucket latencies are taken to be
 * spread evenly over its octave.
 */

/** The last one takes all that is longer: from 2^(112/4) ms, three days, on. */
export const lastLatencyBucket = 112

const bucketsPerOctave = 4

/** An SQL expression for the bucket of a latency, given as an expression for milliseconds of type float8. */
export function latencyBucketSql(ms: string): string {
  return `least(${lastLatencyBucket}, floor(${bucketsPerOctave} * ln(greatest(1, ${ms})) / ln(2::float8)))::smallint`
}

/** The shortest latency of a bucket, in milliseconds. */
export function latencyBucketStartMs(bucket: number): number {
  return 2 ** (bucket / bucketsPerOctave)
}

export interface LatencyCount {
  bucket: number
  count: number
}

/** The median and the ends of the tail, in whole milliseconds. */
export interface LatencyPercentiles {
  p50: number
  p95: number
  p99: number
}

/** @returns null when nothing was counted */
export function latencyPercentiles(counts: readonly LatencyCount[]): LatencyPercentiles | null {
  const sorted = counts.filter(({ count }) => count > 0).sort((a, b) => a.bucket - b.bucket)
  const total = sorted.reduce((sum, { count }) => sum + count, 0)
  if (total === 0) return null
  const at = (part: number) => Math.round(percentile(sorted, part * total))
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** @param rank of how many the latency that is looked for is the longest */
function percentile(sorted: readonly LatencyCount[], rank: number): number {
  let below = 0
  for (const { bucket, count } of sorted) {
    if (below + count >= rank) return latencyBucketStartMs(bucket + (rank - below) / count)
    below += count
  }
  return latencyBucketStartMs(lastLatencyBucket + 1)
}
