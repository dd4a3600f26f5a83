import { describe, expect, test } from 'vitest'
import { type OutcomeCounts, outcomeRates } from './outcome-counts.ts'

const none: OutcomeCounts = {
  accepted: 0,
  delivered: 0,
  deferred: 0,
  bounced: 0,
  hard_bounced: 0,
  complained: 0,
  unsubscribed: 0,
  failed: 0,
  suppressed: 0,
  cancelled: 0,
}

describe('rates', () => {
  test('of nothing are none', () => {
    expect(outcomeRates({ ...none, accepted: 10 })).toEqual({
      bounce_rate: null,
      hard_bounce_rate: null,
      complaint_rate: null,
      deferral_rate: null,
    })
  })

  test('are parts of what they can be a part of', () => {
    const counts = { ...none, delivered: 150, bounced: 50, hard_bounced: 40, deferred: 200, complained: 3 }
    expect(outcomeRates(counts)).toEqual({
      bounce_rate: 0.25,
      hard_bounce_rate: 0.2,
      complaint_rate: 0.02,
      deferral_rate: 0.5,
    })
  })

  test('are never over one, though complaints come later than deliveries', () => {
    expect(outcomeRates({ ...none, delivered: 1, complained: 5 }).complaint_rate).toBe(1)
  })
})
