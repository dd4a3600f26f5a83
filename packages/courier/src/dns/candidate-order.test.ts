import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { orderCandidates } from './candidate-order.ts'
import type { MxHost } from './mail-exchangers.ts'

function host(name: string, priority: number, addresses: string[]): MxHost {
  return { name, priority, addresses, isAuthenticated: false }
}

const told = (hosts: MxHost[], random: () => number, ipv6 = true) =>
  orderCandidates(hosts, random, { ipv6 }).map((one) => `${one.host.name} ${one.address}`)

describe('the order of trying', () => {
  test('is by priority, and random within one', () => {
    const hosts = [host('c', 20, ['192.0.2.3']), host('a', 10, ['192.0.2.1']), host('b', 10, ['192.0.2.2'])]
    const orders = new Set(Array.from({ length: 200 }, () => told(hosts, Math.random).join(', ')))
    expect([...orders].sort()).toEqual([
      'a 192.0.2.1, b 192.0.2.2, c 192.0.2.3',
      'b 192.0.2.2, a 192.0.2.1, c 192.0.2.3',
    ])
  })

  test('gives every host of a priority the same share of first places', () => {
    const hosts = ['a', 'b', 'c', 'd'].map((name) => host(name, 10, ['192.0.2.1']))
    const firsts = new Map<string, number>()
    for (let round = 0; round < 4_000; round += 1) {
      const name = orderCandidates(hosts, Math.random, { ipv6: false })[0]?.host.name ?? ''
      firsts.set(name, (firsts.get(name) ?? 0) + 1)
    }
    for (const name of ['a', 'b', 'c', 'd']) expect(firsts.get(name)).toBeGreaterThan(800)
  })

  test('D9: falls from a broken family to the other with the next address', () => {
    const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::1', '2001:db8::2']
    expect(told([host('a', 10, addresses)], () => 0)).toEqual([
      'a 192.0.2.1',
      'a 2001:db8::1',
      'a 192.0.2.2',
      'a 2001:db8::2',
      'a 192.0.2.3',
    ])
  })

  test('has no IPv6 from a source without it', () => {
    const hosts = [host('a', 10, ['192.0.2.1', '2001:db8::1']), host('six', 20, ['2001:db8::2'])]
    expect(told(hosts, () => 0, false)).toEqual(['a 192.0.2.1'])
  })

  test('loses and repeats nothing, and leaves what it was given alone', () => {
    const hosts = fc.array(
      fc.record({
        name: fc.string(),
        priority: fc.integer({ min: 0, max: 3 }),
        addresses: fc.uniqueArray(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 5 }),
        isAuthenticated: fc.boolean(),
      }),
      { maxLength: 10 },
    )
    fc.assert(
      fc.property(hosts, fc.integer(), (list, seed) => {
        const before = structuredClone(list)
        let state = seed
        const random = () => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
          return (state >>> 0) / 2 ** 32
        }
        const order = orderCandidates(list, random, { ipv6: true })
        expect(list).toEqual(before)
        expect(order.map(({ address }) => address).sort()).toEqual(
          list.flatMap((one) => one.addresses).sort(),
        )
        const priorities = order.map((one) => one.host.priority)
        expect(priorities).toEqual(priorities.toSorted((a, b) => a - b))
      }),
    )
  })
})
