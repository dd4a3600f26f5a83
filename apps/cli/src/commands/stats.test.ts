/** How statistics are told to people. */
import type { StatsRow } from '@valija/client'
import { expect, test } from 'vitest'
import { statsColumns } from './stats.ts'

const row = {
  ...{ start: '2026-11-23T10:00:00.000Z', accepted: 3, delivered: 2, deferred: 1, bounced: 1, failed: 0 },
  ...{ suppressed: 0, cancelled: 4, complained: 0, unsubscribed: 5, bounce_rate: 1 / 3, complaint_rate: 0 },
  latency_ms: { p50: 840, p95: 9_000, p99: 61_400 },
} as StatsRow
const cells = (by: string | undefined, fields: Partial<StatsRow>) =>
  Object.values(statsColumns(by)).map((column) => column({ ...row, ...fields }))

test('rates are percentages, latencies seconds, and what there is none of is left out', () => {
  const counts = [3, 2, 1, 1, 0, 0, 4, 0, 5]
  expect(cells(undefined, {})).toEqual([
    '2026-11-23T10:00Z',
    ...counts,
    '33.33 %',
    '0.00 %',
    '0.84 s',
    '61 s',
  ])
  const none = cells(undefined, { bounce_rate: null, complaint_rate: null, latency_ms: null })
  expect(none.slice(-4)).toEqual([null, null, null, null])
})

test('a group has its name, and what is left of the groups is told as others', () => {
  expect(cells('provider', { provider: 'google' })[1]).toBe('google')
  expect(cells('provider', { provider: null })[1]).toBe('others')
})
