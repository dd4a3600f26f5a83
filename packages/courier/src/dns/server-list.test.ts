import dns from 'node:dns'
import { afterEach, describe, expect, test } from 'vitest'
import { serverList } from './server-list.ts'

const system = dns.getServers()
afterEach(() => dns.setServers(system))

describe('the list of resolvers', () => {
  test('takes every spelling of address and port', () => {
    const list = serverList([
      '192.0.2.1',
      '192.0.2.1:5353',
      '2001:db8::1',
      '[2001:db8::1]',
      '[2001:db8::1]:5353',
    ])
    expect(list.map(({ ip, port }) => [ip, port])).toEqual([
      ['192.0.2.1', 53],
      ['192.0.2.1', 5353],
      ['2001:db8::1', 53],
      ['2001:db8::1', 5353],
    ])
  })

  test.each([
    '',
    'resolver.example.com',
    '192.0.2',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '[192.0.2.1',
    '192.0.2.1:x',
  ])('refuses %j', (text) => {
    expect(() => serverList([text])).toThrow(`not "${text}"`)
  })

  test('believes the AD of those that the operator named', () => {
    expect(serverList(['192.0.2.1'])).toMatchObject([{ isTrusted: true }])
    expect(serverList(['192.0.2.1'], false)).toMatchObject([{ isTrusted: false }])
  })

  test("is the system's when empty, and believes AD only from this machine", () => {
    dns.setServers(['192.0.2.1', '127.0.0.53', '[::1]:5353'])
    expect(serverList([])).toEqual([
      { ip: '192.0.2.1', port: 53, isTrusted: false },
      { ip: '127.0.0.53', port: 53, isTrusted: true },
      { ip: '::1', port: 5353, isTrusted: true },
    ])
    expect(serverList([], true)).toMatchObject([
      { isTrusted: true },
      { isTrusted: true },
      { isTrusted: true },
    ])
  })
})
