import { createResolver, type Resolver } from '@valija/courier'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import type { Check } from './check.ts'
import { examineNames, isFullyQualified } from './ehlo-name.ts'
import type { Source } from './source-addresses.ts'

let dns: DnsServer
let resolver: Resolver
beforeAll(async () => {
  dns = await startDnsServer()
})
beforeEach(() => {
  dns.zone = { 'mail.acme.test': { A: ['192.0.2.1'] }, '192.0.2.1': { PTR: ['mail.acme.test'] } }
  dns.behaviour = {}
  resolver?.close()
  resolver = createResolver({ servers: [dns.address], timeoutMs: 2_000, cache: { entries: 0, bytes: 0 } })
})
afterAll(async () => {
  resolver.close()
  await dns.stop()
})

const source = (over: Partial<Source> = {}): Source => ({
  address: '192.0.2.1',
  bind: '192.0.2.1',
  ehloName: 'mail.acme.test',
  origin: 'VALIJA_SOURCE_IPS',
  ...over,
})

const look = (...sources: Source[]) => examineNames(resolver, sources)
const inShort = (checks: readonly Check[]) => checks.map(({ name, status }) => `${name} ${status}`)

describe('a name is fully qualified', () => {
  test.each([
    'mail.example.com',
    'MX1.Example.CO.UK',
    'xn--bcher-kva.example',
    'valija.example.test',
    'a.b.',
  ])('%s is', (name) => expect(isFullyQualified(name)).toBe(true))
  test.each([
    'localhost',
    'vm',
    'box.local',
    'ip-10-0-0-1.internal',
    'host.localdomain',
    'a.home.arpa',
    '10.0.0.1',
  ])('%s is not', (name) => expect(isFullyQualified(name)).toBe(false))
  test.each(['-a.example.com', 'a..example.com', 'a_b.example.com', '', '1.2.3.4.5'])('%s is not', (name) =>
    expect(isFullyQualified(name)).toBe(false),
  )
})

describe('EHLO name, address and PTR', () => {
  test('are well when each gives the other', async () => {
    expect(inShort(await look(source()))).toEqual(['ehlo_name ok', 'reverse_name ok'])
  })

  test('a name that has no address', async () => {
    dns.remove('mail.acme.test')
    const [name] = await look(source())
    expect(name).toMatchObject({
      subject: 'mail.acme.test',
      status: 'failed',
      fix: expect.stringContaining('A record'),
    })
  })

  test('a name that has another address', async () => {
    dns.set('mail.acme.test', 'A', ['192.0.2.7'])
    const checks = await look(source())
    expect(inShort(checks)).toEqual(['ehlo_name failed', 'reverse_name failed'])
    expect(checks[0]?.detail).toBe('has the address 192.0.2.7, but mail leaves from 192.0.2.1')
  })

  test('a name without dots is told as such, and its address is looked at all the same', async () => {
    const checks = await look(source({ ehloName: 'vm' }))
    expect(inShort(checks)).toEqual(['ehlo_name failed', 'reverse_name warning'])
    expect(checks[0]?.fix).toContain('VALIJA_EHLO_NAME')
  })

  test('an address without PTR', async () => {
    dns.remove('192.0.2.1')
    expect((await look(source()))[1]).toMatchObject({
      subject: '192.0.2.1',
      status: 'failed',
      fix: expect.stringContaining('set its PTR record to mail.acme.test'),
    })
  })

  test('a PTR that gives another name of this address is a warning', async () => {
    dns.set('192.0.2.1', 'PTR', ['vm7.hoster.test'])
    dns.set('vm7.hoster.test', 'A', ['192.0.2.1'])
    expect((await look(source()))[1]).toMatchObject({
      status: 'warning',
      detail: 'is called vm7.hoster.test, and EHLO says mail.acme.test',
    })
  })

  test('a PTR that gives a name of another address', async () => {
    dns.set('192.0.2.1', 'PTR', ['vm7.hoster.test'])
    dns.set('vm7.hoster.test', 'A', ['192.0.2.99'])
    expect((await look(source()))[1]).toMatchObject({
      status: 'failed',
      detail: expect.stringContaining('that name does not have this address'),
    })
  })

  test('of several PTR one that is right is enough', async () => {
    dns.set('192.0.2.1', 'PTR', ['web.acme.test', 'mail.acme.test'])
    expect((await look(source()))[1]).toMatchObject({ status: 'ok' })
  })

  test('an IPv6 address is looked at alike, and IPv4 alone is offered as another way', async () => {
    dns.set('mail.acme.test', 'AAAA', ['2001:db8::1'])
    const v6 = source({ address: '2001:db8::1', bind: '2001:db8::1' })
    expect((await look(v6))[1]).toMatchObject({
      status: 'failed',
      fix: expect.stringContaining('IPv4 alone'),
    })
    dns.set('2001:db8::1', 'PTR', ['mail.acme.test'])
    expect((await look(v6))[1]).toMatchObject({ status: 'ok' })
  })

  test('behind a NAT the address of the EHLO name is looked at', async () => {
    const checks = await look(source({ address: null, bind: '10.0.0.5', origin: 'system' }))
    expect(inShort(checks)).toEqual(['ehlo_name ok', 'reverse_name ok'])
    expect(checks[1]?.subject).toBe('192.0.2.1')
  })

  test('sources with names of their own are looked at each', async () => {
    dns.set('two.acme.test', 'A', ['192.0.2.2'])
    const two = source({
      address: '192.0.2.2',
      bind: '10.0.0.2',
      ehloName: 'two.acme.test',
      origin: '/source-ips',
    })
    expect(inShort(await look(source(), two))).toEqual([
      'ehlo_name ok',
      'reverse_name ok',
      'ehlo_name ok',
      'reverse_name failed',
    ])
  })

  test('a resolver that fails is a warning: nothing is known', async () => {
    dns.behaviour = { '*': 'servfail' }
    expect(inShort(await look(source()))).toEqual(['ehlo_name warning', 'reverse_name warning'])
  })
})
