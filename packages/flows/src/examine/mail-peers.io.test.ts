import { createResolver } from '@valija/courier'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import { addressFor, bindOf, findPeers, parsePeer } from './mail-peers.ts'

let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer({
    records: {
      'big.test': { MX: ['20 mx2.big.test', '10 mx1.big.test'] },
      'mx1.big.test': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] },
      'mx2.big.test': { A: ['192.0.2.2'] },
      'null.test': { MX: ['0 .'] },
    },
  })
})
afterAll(() => dns.stop())

async function find(wish: { providers?: string[]; wishes?: { host: string; port: number | null }[] }) {
  const resolver = createResolver({ servers: [dns.address], timeoutMs: 2_000 })
  const found = await findPeers(resolver, { providers: [], wishes: [], mxPort: 25, ...wish })
  resolver.close()
  return found
}

test.each([
  ['mx.example.com', { host: 'mx.example.com', port: null }],
  ['mx.example.com:2525', { host: 'mx.example.com', port: 2525 }],
  ['192.0.2.1:25', { host: '192.0.2.1', port: 25 }],
  ['2001:db8::1', { host: '2001:db8::1', port: null }],
  ['[2001:db8::1]:26', { host: '2001:db8::1', port: 26 }],
  ['', null],
  ['mx.example.com:', null],
  ['mx.example.com:0', null],
  ['mx.example.com:65536', null],
  ['[mx.example.com]', null],
  ['smtp://mx.example.com', null],
])('--connect %s', (text, wish) => expect(parsePeer(text)).toEqual(wish))

test('of a provider the best exchanger is taken; who has none is told', async () => {
  expect(await find({ providers: ['big.test', 'null.test', 'nowhere.test'] })).toEqual({
    peers: [{ host: 'mx1.big.test', port: 25, addresses: ['192.0.2.1', '2001:db8::1'], isNamed: false }],
    missing: ['null.test: takes no mail', 'nowhere.test: the domain nowhere.test does not exist'],
  })
})

test('servers that are named take the place of the providers', async () => {
  const wishes = [
    { host: '192.0.2.9', port: 2525 },
    { host: 'mx2.big.test', port: null },
    { host: 'mx3.big.test', port: null },
  ]
  expect(await find({ providers: ['big.test'], wishes })).toEqual({
    peers: [
      { host: '192.0.2.9', port: 2525, addresses: ['192.0.2.9'], isNamed: true },
      { host: 'mx2.big.test', port: 25, addresses: ['192.0.2.2'], isNamed: true },
    ],
    missing: ['mx3.big.test: has no address in the DNS'],
  })
})

test('a source connects within its version of IP, and binds only what the operator named', () => {
  const peer = { host: 'x', port: 25, addresses: ['192.0.2.1', '2001:db8::1'], isNamed: false }
  const source = { address: null, ehloName: 'x', bind: '2001:db8::7', origin: 'VALIJA_SOURCE_IPS' } as const
  expect(addressFor(peer, source)).toBe('2001:db8::1')
  expect(addressFor({ ...peer, addresses: ['192.0.2.1'] }, source)).toBeUndefined()
  expect([bindOf(source), bindOf({ ...source, origin: 'system' })]).toEqual(['2001:db8::7', null])
})
