import { describe, expect, test } from 'vitest'
import { createFairShare, type FairShare, type ShareQuota, type WaitingShare } from './fair-share.ts'

const share = (
  tenantId: string,
  stream: 'transactional' | 'bulk',
  weight = 1,
  inFlight = 0,
): WaitingShare => ({
  tenantId,
  stream,
  weight,
  inFlight,
})
/** One round that is carried out. */
function take(fair: FairShare, ...[waiting, room, capacity]: Parameters<FairShare['divide']>): ShareQuota[] {
  const { quotas, keep } = fair.divide(waiting, room, capacity)
  keep()
  return quotas
}
/** More than any test gives out. */
const plenty = 10_000
const total = (quotas: ShareQuota[], tenantId: string) =>
  quotas.filter((quota) => quota.tenantId === tenantId).reduce((sum, quota) => sum + quota.count, 0)

describe('room for the workers', () => {
  test('is shared by weight, whatever each tenant has waiting', () => {
    const quotas = take(
      createFairShare(),
      [share('a', 'bulk', 3), share('b', 'transactional', 1)],
      100,
      plenty,
    )
    expect(total(quotas, 'a')).toBe(75)
    expect(total(quotas, 'b')).toBe(25)
  })

  test('goes four to one to transactional mail inside a tenant, and wholly to a stream that waits alone', () => {
    const both = take(createFairShare(), [share('a', 'bulk'), share('a', 'transactional')], 100, plenty)
    expect(both.find((quota) => quota.stream === 'transactional')?.count).toBe(80)
    expect(both.find((quota) => quota.stream === 'bulk')?.count).toBe(20)
    expect(take(createFairShare(), [share('a', 'bulk')], 100, plenty)).toMatchObject([
      { tenantId: 'a', stream: 'bulk', count: 100 },
    ])
  })

  test('smaller than the number of tenants goes round: in time all get the same', () => {
    const fair = createFairShare()
    const tenants = Array.from({ length: 50 }, (_, index) => share(`t${index}`, 'bulk'))
    const got = new Map<string, number>()
    for (let round = 0; round < 500; round++) {
      for (const quota of take(fair, tenants, 7, plenty)) {
        got.set(quota.tenantId, (got.get(quota.tenantId) ?? 0) + quota.count)
      }
    }
    const counts = tenants.map((tenant) => got.get(tenant.tenantId) ?? 0)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(3_400)
  })

  test('is never more than there is, and never nothing while somebody may have a row', () => {
    const fair = createFairShare()
    const tenants = Array.from({ length: 1_000 }, (_, index) => share(`t${index}`, 'bulk'))
    const got = new Set<string>()
    for (let round = 0; round < 10; round++) {
      const quotas = take(fair, tenants, 100, plenty)
      expect(quotas.reduce((sum, { count }) => sum + count, 0)).toBe(100)
      for (const { tenantId } of quotas) got.add(tenantId)
    }
    expect(got.size).toBe(1_000)
  })

  test('counts once, also where a round was begun anew before it was carried out', () => {
    const fair = createFairShare()
    const tenants = [share('a', 'bulk'), share('b', 'bulk')]
    const [first] = fair.divide(tenants, 1, plenty).quotas
    expect(fair.divide(tenants, 1, plenty).quotas).toEqual([first])
    expect(take(fair, tenants, 1, plenty)).toEqual([first])
    expect(take(fair, tenants, 1, plenty)[0]?.tenantId).not.toBe(first?.tenantId)
  })

  test('is never saved up by a tenant that had nothing waiting', () => {
    const fair = createFairShare()
    for (let round = 0; round < 100; round++) take(fair, [share('a', 'bulk')], 0.9, plenty)
    take(fair, [share('b', 'bulk')], 1, plenty)
    expect(total(take(fair, [share('a', 'bulk'), share('b', 'bulk')], 10, plenty), 'a')).toBe(5)
  })
})

describe('what the workers hold', () => {
  const holding = (tenantId: string, inFlight: number, weight = 1) =>
    share(tenantId, 'bulk', weight, inFlight)

  test('is shared by weight: who has its part gets no more, however much room there is', () => {
    const quotas = take(createFairShare(), [holding('a', 75, 3), holding('b', 20)], 100, 100)
    expect(quotas).toMatchObject([{ tenantId: 'b', count: 5 }])
  })

  test('goes on to who has little, while another has more than its part since before it came', () => {
    const quotas = take(createFairShare(), [holding('a', 300), holding('b', 0)], 50, 300)
    expect(quotas).toMatchObject([{ tenantId: 'b', count: 50 }])
  })

  test('is for each stream at least one row, also when others have everything', () => {
    expect(take(createFairShare(), [holding('a', 0)], 5, -200)).toMatchObject([{ tenantId: 'a', count: 1 }])
    expect(take(createFairShare(), [holding('a', 1)], 5, -200)).toEqual([])
  })

  test('is for one domain a quarter of a stream’s part, and at least one row', () => {
    const fair = createFairShare()
    expect(take(fair, [holding('a', 0)], 50, 300)).toMatchObject([{ count: 50, perDomain: 75 }])
    expect(take(fair, [holding('a', 0)], 50, 2)).toMatchObject([{ count: 2, perDomain: 1 }])
  })
})
