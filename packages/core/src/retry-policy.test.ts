import { describe, expect, test } from 'vitest'
import type { Reason } from './reasons.ts'
import { defaultNetworkScheduleMs, messageTtlMs, retryWaitMs } from './retry-policy.ts'

const policy = { networkScheduleMs: defaultNetworkScheduleMs }
const minutes = (reason: Reason, step: number, jitter = 0.5) =>
  retryWaitMs(policy, { reason, action: 'retry' }, step, jitter) / 60_000

describe('the wait before the next attempt', () => {
  test.each([
    ['network', [1, 3, 8, 20, 60, 60]],
    ['throttled', [1, 3, 8, 20, 60, 60]],
    ['other', [1, 3, 8, 20, 60, 60]],
    ['greylisted', [5, 10, 20, 20]],
    ['mailbox_full', [60, 120, 240, 480, 480]],
    ['reputation', [15, 30, 60, 120, 240, 240]],
    ['tls', [1, 3, 8, 20, 60]],
    ['authentication', [1, 3, 8, 20, 60]],
  ] as const)('after %s follows its schedule, and the last wait repeats', (reason, expected) => {
    expect(expected.map((_, index) => minutes(reason, index + 1))).toEqual(expected)
  })

  test('is spread by ten percent to either side', () => {
    expect(minutes('network', 1, 0)).toBeCloseTo(0.9)
    expect(minutes('network', 1, 0.999999)).toBeCloseTo(1.1)
  })

  test('before a doubtful name’s second look is never shorter than its five minutes', () => {
    expect(minutes('domain_unknown', 1, 0)).toBe(5)
    expect(minutes('domain_unknown', 1, 0.999999)).toBeCloseTo(5.5)
  })

  test('follows the operator’s schedule where one is set, and a doubtful name five times its first step', () => {
    const wait = (reason: Reason, step: number) =>
      retryWaitMs({ networkScheduleMs: [1_000] }, { reason, action: 'retry' }, step, 0)
    expect(wait('network', 7)).toBe(900)
    expect(wait('greylisted', 1)).toBe(270_000)
    expect(wait('domain_unknown', 2)).toBe(5_000)
  })

  test('by a route that refused our login stays five minutes, so mail goes on soon after it was mended', () => {
    const paused = { reason: 'authentication', action: 'pause_route' } as const
    expect([1, 9].map((step) => retryWaitMs(policy, paused, step, 0.5))).toEqual([300_000, 300_000])
  })
})

describe('the time to live', () => {
  test('is the message’s own, else its stream’s', () => {
    const defaults = { transactional: 1, bulk: 2 }
    expect(messageTtlMs(defaults, 'bulk', null)).toBe(2)
    expect(messageTtlMs(defaults, 'bulk', 60)).toBe(60_000)
  })
})
