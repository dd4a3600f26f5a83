import { expect, test } from 'vitest'
import { reverseName } from './reverse-name.ts'

test('an address has its name in the reverse tree, whatever way it is written', () => {
  expect(reverseName('192.0.2.1')).toBe('1.2.0.192.in-addr.arpa')
  const name = '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa'
  expect(reverseName('2001:db8::1')).toBe(name)
  expect(reverseName('2001:0DB8:0:0:0:0:0:1')).toBe(name)
})

test.each(['', '127.1', '0x7f.0.0.1', 'fe80::1%eth0', 'example.test'])('%j is no address', (text) => {
  expect(reverseName(text)).toBeNull()
})
