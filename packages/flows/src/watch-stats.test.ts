/** How often events are counted, and when what was counted is judged. */
import { expect, test } from 'vitest'
import { mayBeJudged, restAfterCount } from './watch-stats.ts'

const minuteMs = 60_000
const nowMs = Date.UTC(2026, 0, 2)
const asOf = (agoMs: number) => new Date(nowMs - agoMs)
const upToDate = { counted: 12, isUpToDate: true, asOf: asOf(5_000) }
const behind = (agoMs: number | null) => ({
  counted: 5_000,
  isUpToDate: false,
  asOf: agoMs === null ? null : asOf(agoMs),
})

test.each(['busy', upToDate] as const)('%j: somebody looks again in five seconds', (outcome) => {
  expect(restAfterCount(outcome, 3, 0)).toBe(5_000)
})

test('a look that takes long is seldom', () => {
  expect(restAfterCount(upToDate, 2_000, 0)).toBe(20_000)
})

test('what is behind is caught up in a fifth of the time, and when that is not enough in half of it', () => {
  expect(restAfterCount(behind(minuteMs), 40, 9 * minuteMs)).toBe(160)
  expect(restAfterCount(behind(minuteMs), 40, 11 * minuteMs)).toBe(40)
})

test('rates are judged when the counts are those of now, or nearly', () => {
  expect(mayBeJudged('busy', nowMs)).toBe(false)
  expect(mayBeJudged(upToDate, nowMs)).toBe(true)
  expect(mayBeJudged(behind(59 * minuteMs), nowMs)).toBe(true)
  expect(mayBeJudged(behind(61 * minuteMs), nowMs)).toBe(false)
  expect(mayBeJudged(behind(null), nowMs)).toBe(false)
})
