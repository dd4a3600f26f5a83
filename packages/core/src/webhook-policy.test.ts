import { describe, expect, test } from 'vitest'
import { judgeWebhookTry, webhookPolicy } from './webhook-policy.ts'

const failed = (tries: number, statusCode: number | null = 500, retryAfterMs: number | null = null) => ({
  tries,
  statusCode,
  retryAfterMs,
})

const afterMs = (tries: number, jitter = 0) => {
  const verdict = judgeWebhookTry(failed(tries), jitter)
  return verdict.kind === 'retry' ? verdict.afterMs : null
}

describe('judging a webhook try', () => {
  test.each([200, 201, 202, 204, 299])('%d is a success', (statusCode) => {
    expect(judgeWebhookTry(failed(1, statusCode), 0)).toEqual({ kind: 'delivered' })
  })

  test.each([100, 199, 301, 302, 307, 308, 400, 404, 429, 500, 503, 599, null])(
    '%s is tried again',
    (statusCode) => {
      expect(judgeWebhookTry(failed(1, statusCode), 0)).toEqual({ kind: 'retry', afterMs: 5_000 })
    },
  )

  test('410 disables the endpoint and lets the event wait', () => {
    expect(judgeWebhookTry(failed(1, 410), 0)).toEqual({ kind: 'disable', afterMs: 5_000 })
  })

  test('the waits are 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, then 12 h for ever', () => {
    const seconds = [1, 2, 3, 4, 5, 6, 7, 8, 100].map((tries) => afterMs(tries)! / 1000)
    expect(seconds).toEqual([5, 300, 1_800, 7_200, 18_000, 36_000, 43_200, 43_200, 43_200])
  })

  test('jitter adds up to a tenth and never shortens a wait', () => {
    expect(afterMs(1, 0)).toBe(5_000)
    expect(afterMs(1, 0.5)).toBe(5_250)
    expect(afterMs(1, 0.999)).toBeLessThanOrEqual(5_500)
  })

  test('Retry-After lengthens a wait, never shortens it, and counts for at most a day', () => {
    expect(judgeWebhookTry(failed(1, 503, 60_000), 0)).toEqual({ kind: 'retry', afterMs: 60_000 })
    expect(judgeWebhookTry(failed(3, 503, 60_000), 0)).toEqual({ kind: 'retry', afterMs: 1_800_000 })
    expect(judgeWebhookTry(failed(1, 429, 1e12), 0)).toEqual({ kind: 'retry', afterMs: 86_400_000 })
  })

  test('a policy of one wait repeats it', () => {
    const policy = { ...webhookPolicy, retryWaitsMs: [7] }
    expect(judgeWebhookTry(failed(9), 0, policy)).toEqual({ kind: 'retry', afterMs: 7 })
  })
})
