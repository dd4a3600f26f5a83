import { expect, test } from 'vitest'
import { createConnectionCount } from './connection-count.ts'

test('a peer has so many connections and no more, and each that ends makes room for another', () => {
  const count = createConnectionCount(2)
  expect([1, 2, 3].map(() => count.enter('192.0.2.1'))).toEqual([true, true, false])
  expect(count.enter('192.0.2.2')).toBe(true)
  count.leave('192.0.2.1')
  expect([1, 2].map(() => count.enter('192.0.2.1'))).toEqual([true, false])
})

test.each([
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', true],
  ['2001:db8::1', '2001:db8:0:0:5::', true],
  ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['::1', '::2', true],
  ['::ffff:192.0.2.1', '192.0.2.1', true],
  ['::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
])('%s and %s are one peer: %j', (one, other, isOne) => {
  const count = createConnectionCount(1)
  count.enter(one)
  expect(count.enter(other)).toBe(!isOne)
})
