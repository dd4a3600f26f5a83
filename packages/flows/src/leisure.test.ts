/** Rests between pieces of work. */
import { expect, test } from 'vitest'
import { leisurely, restAfter } from './leisure.ts'

const resolved = async () => 7

test('a rest is as many times as long as the work, and never longer than half a minute', () => {
  expect(restAfter(40, 4)).toBe(160)
  expect(restAfter(60_000, 4)).toBe(30_000)
})

test('who is told to stop does not rest, and has what came of the work', async () => {
  const stop = new AbortController()
  const startedAtMs = performance.now()
  const working = leisurely(resolved, 1_000_000_000, stop.signal)
  stop.abort()
  await expect(working).resolves.toBe(7)
  await expect(leisurely(resolved, 1_000_000_000, stop.signal)).resolves.toBe(7)
  expect(performance.now() - startedAtMs).toBeLessThan(20_000)
})
