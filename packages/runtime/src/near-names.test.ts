/** Suggestions for names that are unknown. */
import { expect, test } from 'vitest'
import { nearestName } from './near-names.ts'

test.each([
  ['tags', ['limit', 'tag', 'to'], 2, 'tag'],
  ['sucject', ['subject', 'text'], 2, 'subject'],
  ['colour', ['subject', 'text'], 2, undefined],
  ['x'.repeat(100_000), ['x'], 200_000, undefined],
  ['x', [], 2, undefined],
])('%s is nearest to the name that was meant, or to none', (name, known, edits, meant) => {
  expect(nearestName(name, known, edits)?.name).toBe(meant)
})
