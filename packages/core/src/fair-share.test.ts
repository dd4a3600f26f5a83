import { describe, expect, test } from 'vitest'
import { createFairShare, type ShareQuota, type WaitingShare } from './fair-share.ts'

const share = (tenantId: string, stream: 'transactional' | 'bulk', weight = 1): WaitingShare => ({
  tenantId,
  stream,
  weight,
})
const total = (quotas: ShareQuota[], tenantId: string) =>
  quotas.filter((quota) => quota.tenantId === tenantId).reduce((sum, quota) => sum + quota.count, 0)

describe('room for the workers', () => {
  test('is shared by weight, whatever each tenant has waiting', () => {
    const quotas = createFairShare().divide([share('a', 'bulk', 3), share('b', 'transactional', 1)], 100)
    expect(total(quotas, 'a')).toBe(75)
    expect(total(quotas, 'b')).toBe(25)
  })

  test('goes four to one to transactional mail inside a tenant, and wholly to a stream that waits alone', () => {
    const both = createFairShare().divide([share('a', 'bulk'), share('a', 'transactional')], 100)
    expect(both.find((quota) => quota.stream === 'transactional')?.count).toBe(80)
    expect(both.find((quota) => quota.stream === 'bulk')?.count).toBe(20)
    expect(createFairShare().divide([share('a', 'bulk')], 100)).toEqual([
      { tenantId: 'a', stream: 'bulk', count: 100 },
    ])
  })

  test('smaller than the number of tenants goes round: in time all get the same', () => {
    const fair = createFairShare()
    const tenants = Array.from({ length: 50 }, (_, index) => share(`t${index}`, 'bulk'))
    const got = new Map<string, number>()
    for (let round = 0; round < 500; round++) {
      for (const quota of fair.divide(tenants, 7)) {
        got.set(quota.tenantId, (got.get(quota.tenantId) ?? 0) + quota.count)
      }
    }
    const counts = tenants.map((tenant) => got.get(tenant.tenantId) ?? 0)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(3_400)
  })

  test('is never saved up by a tenant that had nothing waiting', () => {
    const fair = createFairShare()
    for (let round = 0; round < 100; round++) fair.divide([share('a', 'bulk')], 0.9)
    fair.divide([share('b', 'bulk')], 1)
    expect(total(fair.divide([share('a', 'bulk'), share('b', 'bulk')], 10), 'a')).toBe(5)
  })
})
