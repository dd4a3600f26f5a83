import type { InFlight } from '@valija/store'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createDomainPace, withoutSoonAnswered } from './domain-pace.ts'

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

const entry = (tenantId: string, domain: string, leased: number) =>
  ({ tenantId, stream: 'bulk', domain, admitted: 5, leased }) as InFlight

test('what is answered in half a second does not count, once for all streams, and no more than two thirds', () => {
  const underWay = [entry('a', 'big.test', 60), entry('b', 'big.test', 30), entry('a', 'dead.test', 30)]
  const leasedAt = (perSecond: number) =>
    withoutSoonAnswered(underWay, (domain) => (domain === 'big.test' ? perSecond : 0)).map(
      ({ leased, admitted }) => [leased, admitted],
    )
  expect(leasedAt(0)).toEqual([60, 30, 30].map((leased) => [leased, 5]))
  expect(leasedAt(60)).toEqual([40, 20, 30].map((leased) => [leased, 5]))
  expect(leasedAt(10_000)).toEqual([20, 10, 30].map((leased) => [leased, 5]))
})
