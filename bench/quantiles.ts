/** Quantiles of durations by nearest rank: of 100 values p99 is the second largest. */

export interface Quantiles {
  p50Ms: number
  p95Ms: number
  p99Ms: number
  maxMs: number
}

/** Sorts what it is given, in place. Of no values all quantiles are 0. */
export function quantiles(values: Float64Array | number[]): Quantiles {
  const sorted = values instanceof Float64Array ? values.sort() : values.sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
  return { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), maxMs: sorted.at(-1) ?? 0 }
}
