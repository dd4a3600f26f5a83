import { describe, expect, test } from 'vitest'
import { defaultNetworkScheduleMs, messageTtlMs, retryWaitMs } from './retry-policy.ts'

const policy = { networkScheduleMs: defaultNetworkScheduleMs }
const minutes = (reason: Parameters<typeof retryWaitMs>[1], step: number, jitter = 0.5) =>
  retryWaitMs(policy, reason, step, jitter) / 60_000

describe('the wait before the next attempt', () => {
  test.each([
    ['network', [1, 3, 8, 20, 60, 60]],
    ['throttled', [1, 3, 8, 20, 60, 60]],
    ['other', [1, 3, 8, 20, 60, 60]],
    ['greylisted', [5, 10, 20, 20]],
    ['mailbox_full', [60, 120, 240, 480, 480]],
  ] as const)('after %s follows its schedule, and the last wait repeats', (reason, expected) => {
    expect(expected.map((_, index) => minutes(reason, index + 1))).toEqual(expected)
  })

  test('is spread by ten percent to either side', () => {
    expect(minutes('network', 1, 0)).toBeCloseTo(0.9)
    expect(minutes('network', 1, 0.999999)).toBeCloseTo(1.1)
  })

  test('follows the operator’s schedule where one is set', () => {
    expect(retryWaitMs({ networkScheduleMs: [1_000] }, 'network', 7, 0.5)).toBe(1_000)
    expect(retryWaitMs({ networkScheduleMs: [1_000] }, 'greylisted', 1, 0.5)).toBe(300_000)
  })
})

describe('the time to live', () => {
  test('is the message’s own, else its stream’s', () => {
    const defaults = { transactional: 1, bulk: 2 }
    expect(messageTtlMs(defaults, 'bulk', null)).toBe(2)
    expect(messageTtlMs(defaults, 'bulk', 60)).toBe(60_000)
  })
})
