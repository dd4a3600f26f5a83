/** Order of the routes of a list; names of routes. */
import { describe, expect, test } from 'vitest'
import { findRouteNameFault, orderRoutes, rankByWeight } from './route.ts'

const recipients = Array.from({ length: 4_000 }, (_, i) => `r${i}@example.test`)
const entry = (route: string, weight = 1, isBackup = false) => ({ route, weight, isBackup })

describe('the routes of a list', () => {
  test('are always in the same order for a recipient, whatever the order of the list', () => {
    const list = [entry('a'), entry('b'), entry('c')]
    for (const recipient of recipients.slice(0, 50)) {
      expect(orderRoutes(list, recipient)).toEqual(orderRoutes([...list].reverse(), recipient))
    }
  })

  test('come first for as many recipients as their weight says', () => {
    const list = [entry('a', 3), entry('b', 1)]
    const share = recipients.filter((recipient) => orderRoutes(list, recipient)[0] === 'a').length / 4_000
    expect(share).toBeGreaterThan(0.71)
    expect(share).toBeLessThan(0.79)
  })

  test('have the backups behind all others, in the list’s order', () => {
    const list = [entry('z', 1000, true), entry('y', 1, true), entry('a')]
    for (const recipient of recipients.slice(0, 20))
      expect(orderRoutes(list, recipient)).toEqual(['a', 'z', 'y'])
  })

  test('a choice that goes moves only its own subjects', () => {
    const read = (key: string) => ({ key, weight: 1 })
    for (const recipient of recipients.slice(0, 200)) {
      const [first] = rankByWeight(['a', 'b', 'c'], read, recipient)
      if (first !== 'c') expect(rankByWeight(['a', 'b'], read, recipient)[0]).toBe(first)
    }
  })
})

test.each(['relay-1', 'ses', 'a', '9', 'x'.repeat(63)])('%s may be the name of a route', (name) => {
  expect(findRouteNameFault(name)).toBeNull()
})

test.each(['', 'Relay', 'a b', '-a', 'a-', 'x'.repeat(64), 'smarthost', 'mx', 'capture', 'simulator', 'ä'])(
  '%j may not',
  (name) => expect(findRouteNameFault(name)).toMatch(/must be|choose another/),
)
