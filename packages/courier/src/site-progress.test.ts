import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { answeredLately, countAnswer, createProgress, isStill, look } from './site-progress.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

test('a site is still after some looks at which others were answered and it was not, however long they took', () => {
  const progress = createProgress()
  for (let i = 0; i < 3; i += 1) look(progress, true)
  vi.advanceTimersByTime(60_000)
  look(progress, false)
  expect(isStill(progress)).toBe(false)
  look(progress, true)
  expect(isStill(progress)).toBe(true)
})

test('an answer ends that, and it is not still before as many looks without one', () => {
  const progress = createProgress()
  for (let i = 0; i < 4; i += 1) look(progress, true)
  countAnswer(progress)
  for (let i = 0; i < 4; i += 1) look(progress, true)
  expect(isStill(progress)).toBe(false)
  look(progress, true)
  expect(isStill(progress)).toBe(true)
})

test('answers are counted for a few seconds; those before it was still say nothing', () => {
  const progress = createProgress()
  for (let i = 0; i < 10; i += 1) countAnswer(progress)
  vi.advanceTimersByTime(4_000)
  expect(answeredLately(progress)).toBe(10)
  vi.advanceTimersByTime(4_000)
  expect(answeredLately(progress)).toBe(0)
  for (let i = 0; i < 10; i += 1) countAnswer(progress)
  for (let i = 0; i < 5; i += 1) look(progress, true)
  expect(answeredLately(progress)).toBe(0)
})
