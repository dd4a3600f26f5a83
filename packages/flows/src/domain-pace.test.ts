import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createDomainPace } from './domain-pace.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('what a domain answers counts in its second and in the next, and each domain for itself', () => {
  const pace = createDomainPace()
  for (let mail = 0; mail < 30; mail++) pace.note('quick.test')
  pace.note('slow.test')
  expect([pace.perSecond('quick.test'), pace.perSecond('slow.test'), pace.perSecond('none.test')]).toEqual([
    30, 1, 0,
  ])
  vi.advanceTimersByTime(1_000)
  pace.note('quick.test')
  // A second that has only begun makes nobody slow.
  expect(pace.perSecond('quick.test')).toBe(30)
  vi.advanceTimersByTime(1_000)
  expect([pace.perSecond('quick.test'), pace.perSecond('slow.test')]).toEqual([1, 0])
})

test('who answers nothing any more is slow two seconds later, whether others answer or not', () => {
  const pace = createDomainPace()
  pace.note('a.test')
  vi.advanceTimersByTime(2_000)
  expect(pace.perSecond('a.test')).toBe(0)
  pace.note('a.test')
  for (let second = 0; second < 2; second++) {
    vi.advanceTimersByTime(1_000)
    pace.note('b.test')
  }
  expect(pace.perSecond('a.test')).toBe(0)
})
