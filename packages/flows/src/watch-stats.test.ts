/** How often events are counted. */
import { expect, test } from 'vitest'
import { restAfterCount } from './watch-stats.ts'

test.each([
  ['busy', 3],
  [{ counted: 12, isUpToDate: true }, 3],
] as const)('%j: somebody looks again in five seconds', (outcome, tookMs) => {
  expect(restAfterCount(outcome, tookMs)).toBe(5_000)
})

test('a look that takes long is seldom', () => {
  expect(restAfterCount({ counted: 0, isUpToDate: true }, 2_000)).toBe(20_000)
})

test('what is behind is caught up in a fifth of the time, so that mail that waits has the rest', () => {
  expect(restAfterCount({ counted: 5_000, isUpToDate: false }, 40)).toBe(160)
})
