import type { LookupFunction } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createNetworkGuard, guardLookup, isPublicAddress } from './network-guard.ts'

describe('isPublicAddress', () => {
  test.each([
    '93.184.215.14',
    '1.1.1.1',
    '8.8.8.8',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '2606:4700:4700::1111',
    '2a00:1450:4001:80e::200e',
    '::ffff:8.8.8.8',
  ])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true)
  })

  test.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '100.64.0.1',
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.8',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:7f00:1',
    '::127.0.0.1',
    '::7f00:1',
    '::808:808',
    '4000::1',
    '64:ff9b::a00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
    '5f00::1',
    'fc00::1',
    'fd12:3456:789a::1',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
  ])('%s is not', (address) => {
    expect(isPublicAddress(address)).toBe(false)
  })

  test.each([
    '',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '8.8.8.8 ',
    '8.8.8',
    '[::1]',
    '1.1.1.1:80',
  ])('%j is no address', (text) => {
    expect(isPublicAddress(text)).toBe(false)
  })
})

describe('createNetworkGuard', () => {
  test('lets the allowed networks through, and only them', () => {
    const guard = createNetworkGuard(['127.0.0.0/8', '10.1.0.0/16', 'fd00::/8'])
    expect(guard.isAllowed('127.0.0.1')).toBe(true)
    expect(guard.isAllowed('::ffff:127.0.0.1')).toBe(true)
    expect(guard.isAllowed('10.1.2.3')).toBe(true)
    expect(guard.isAllowed('10.2.2.3')).toBe(false)
    expect(guard.isAllowed('fd00::5')).toBe(true)
    expect(guard.isAllowed('::1')).toBe(false)
    expect(guard.isAllowed('8.8.8.8')).toBe(true)
  })

  test('refuses what is no CIDR', () => {
    expect(() => createNetworkGuard(['10.0.0.0'])).toThrow()
  })
})

describe('D5: this machine’s own addresses', () => {
  const own = ['1.1.1.1', '2606:4700:4700:0:0:0:0:1111', 'fe80::1%eth0']
  test('are refused though they are public, in every spelling', () => {
    const guard = createNetworkGuard([], () => own)
    for (const address of ['1.1.1.1', '::ffff:1.1.1.1', '2606:4700:4700::1111']) {
      expect(guard.isAllowed(address), address).toBe(false)
    }
    for (const address of ['1.1.1.2', '2606:4700:4700::1112']) {
      expect(guard.isAllowed(address), address).toBe(true)
    }
  })

  test('are let through where the operator allows them, and are asked for anew each time', () => {
    const now = [...own]
    const guard = createNetworkGuard(['1.1.1.1/32'], () => now)
    expect(guard.isAllowed('1.1.1.1')).toBe(true)
    expect(guard.isAllowed('8.8.8.8')).toBe(true)
    now.push('8.8.8.8')
    expect(guard.isAllowed('8.8.8.8')).toBe(false)
  })
})

describe('guardLookup', () => {
  const answering =
    (...addresses: string[]): LookupFunction =>
    (_host, _options, callback) =>
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      )

  const ask = (lookup: LookupFunction, all: boolean) =>
    new Promise((resolve) =>
      guardLookup(createNetworkGuard([]), lookup)('x.example', { all }, (...args) => resolve(args)),
    )

  test('hands judged addresses on', async () => {
    expect(await ask(answering('8.8.8.8', '1.1.1.1'), false)).toEqual([null, '8.8.8.8', 4])
    expect(await ask(answering('8.8.8.8'), true)).toEqual([null, [{ address: '8.8.8.8', family: 4 }]])
  })

  test('refuses a name of which one address is private', async () => {
    for (const all of [true, false]) {
      expect(await ask(answering('8.8.8.8', '10.0.0.1'), all)).toEqual([
        expect.objectContaining({ code: 'EADDRESSREFUSED' }),
        '',
        0,
      ])
    }
  })

  test('a name without an address is an error', async () => {
    expect(await ask(answering(), false)).toEqual([expect.objectContaining({ code: 'ENOTFOUND' }), '', 0])
  })
})
