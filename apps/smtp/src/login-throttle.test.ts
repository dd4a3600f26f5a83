import { expect, test } from 'vitest'
import { createLoginThrottle, loginLimits } from './login-throttle.ts'

function throttleAt(limits = {}) {
  const clock = { ms: 0 }
  const throttle = createLoginThrottle({ ...loginLimits, ...limits }, () => clock.ms)
  /** Waits as it is told to, and gives how long that was; null: turned away. */
  const fail = (...names: string[]) => {
    const { waitMs } = throttle.begin(names)
    clock.ms += waitMs ?? 0
    return waitMs
  }
  return { clock, throttle, fail }
}

test('each failure makes the next wait longer, and in the end nobody looks at the password', () => {
  const { fail } = throttleAt()
  expect(Array.from({ length: 10 }, () => fail('peer'))).toEqual([
    0,
    0,
    0,
    500,
    1_000,
    2_000,
    4_000,
    8_000,
    null,
    null,
  ])
})

test('of 1,000 tries at the same moment nine are looked at within the first minute, and two in each minute after', () => {
  const { clock, throttle } = throttleAt()
  const lookedAtMs: number[] = []
  for (let second = 0; second < 300; second++) {
    clock.ms = second * 1_000
    for (let i = 0; i < 1_000; i++) {
      const { waitMs } = throttle.begin(['peer'])
      if (waitMs !== null) lookedAtMs.push(clock.ms + waitMs)
    }
  }
  const inMinute = (minute: number) => lookedAtMs.filter((ms) => Math.floor(ms / 60_000) === minute).length
  expect(inMinute(0)).toBeLessThan(20)
  expect([1, 2, 3].map(inMinute).every((count) => count <= 3)).toBe(true)
})

test('many at the same moment gain nothing: each waits for those before it', () => {
  const { throttle } = throttleAt()
  const waits = Array.from({ length: 10 }, () => throttle.begin(['peer']).waitMs)
  expect(waits).toEqual([0, 0, 0, 500, 1_500, 3_500, 7_500, null, null, null])
})

test('a success takes its own try back and no failure of others', () => {
  const { throttle, fail } = throttleAt()
  for (let i = 0; i < 4; i++) fail('peer')
  const right = throttle.begin(['peer'])
  right.succeeded()
  expect(throttle.begin(['peer']).waitMs).toBe(right.waitMs)
})

test('a name is slowed by its own failures only, and a try under two by the slower', () => {
  const { fail } = throttleAt()
  for (let i = 0; i < 5; i++) fail('one')
  expect(fail('other')).toBe(0)
  expect(fail('one', 'other')).toBe(2_000)
})

test('whoever is turned away is told for how long, and is looked at then', () => {
  const { throttle, clock, fail } = throttleAt()
  for (let i = 0; i < 8; i++) fail('peer')
  const { waitMs, retryAfterMs } = throttle.begin(['peer'])
  expect(waitMs).toBeNull()
  clock.ms += retryAfterMs
  expect(throttle.begin(['peer']).waitMs).toBe(0)
})

test('after a quarter of an hour without a try all is forgotten', () => {
  const { clock, fail } = throttleAt()
  for (let i = 0; i < 8; i++) fail('peer')
  clock.ms += loginLimits.forgetMs
  expect(fail('peer')).toBe(0)
})

test('so many names are remembered and no more: the one that was used longest ago goes', () => {
  const { fail } = throttleAt({ names: 2 })
  for (let i = 0; i < 4; i++) fail('a')
  fail('b')
  expect(fail('a')).toBe(1_000)
  fail('c')
  expect(fail('a')).toBe(2_000)
  expect(fail('b')).toBe(0)
})
