import { afterEach, describe, expect, test } from 'vitest'
import { type DnsServerOptions, startDnsServer } from '../../../../tests/support/dns-server.ts'
import { resolveMailExchangers } from './mail-exchangers.ts'
import { createResolver } from './resolver.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const end of cleanUp.splice(0)) await end()
})

async function world(options: DnsServerOptions, count = 1) {
  const servers = await Promise.all(Array.from({ length: count }, () => startDnsServer(options)))
  const resolver = createResolver({
    servers: servers.map(({ address }) => address),
    timeoutMs: 2_000,
    patienceMs: 400,
  })
  cleanUp.push(() => resolver.close(), ...servers.map((server) => () => server.stop()))
  return { dns: servers[0]!, resolver }
}

async function exchangers(options: DnsServerOptions, servers = 1) {
  const { resolver } = await world(options, servers)
  return resolveMailExchangers(resolver, 'example.test')
}

describe('exchangers', () => {
  test('come by priority, each with its addresses, IPv4 first', async () => {
    const found = await exchangers({
      records: {
        'example.test': { MX: ['20 b.example.test', '10 A.example.test'], A: ['192.0.2.9'] },
        'a.example.test': { AAAA: ['2001:db8::1'], A: ['192.0.2.1', '192.0.2.2'] },
        'b.example.test': { A: ['192.0.2.3'] },
      },
    })
    expect(found).toEqual({
      kind: 'hosts',
      hosts: [
        {
          name: 'a.example.test',
          priority: 10,
          addresses: ['192.0.2.1', '192.0.2.2', '2001:db8::1'],
          isAuthenticated: false,
        },
        { name: 'b.example.test', priority: 20, addresses: ['192.0.2.3'], isAuthenticated: false },
      ],
      isImplicit: false,
      isAuthenticated: false,
    })
  })

  test('without address are left out', async () => {
    const found = await exchangers({
      records: {
        'example.test': { MX: ['10 gone.example.test', '20 b.example.test', '30 no-address.example.test'] },
        'b.example.test': { A: ['192.0.2.3'] },
        'no-address.example.test': { TXT: ['nothing here'] },
      },
    })
    expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'b.example.test' }] })
  })

  test('whose addresses cannot be told now are left out while there are others', async () => {
    const found = await exchangers({
      records: {
        'example.test': { MX: ['10 broken.example.test', '20 b.example.test'] },
        'b.example.test': { A: ['192.0.2.3'] },
      },
      behaviour: { 'broken.example.test': 'servfail', 'b.example.test AAAA': 'servfail' },
    })
    expect(found).toMatchObject({
      kind: 'hosts',
      hosts: [{ name: 'b.example.test', addresses: ['192.0.2.3'] }],
    })
  })

  test('are vouched for when MX and addresses are', async () => {
    const { dns, resolver } = await world({
      records: {
        'example.test': { MX: ['10 a.signed.test', '20 b.unsigned.test'] },
        'a.signed.test': { A: ['192.0.2.1'] },
        'b.unsigned.test': { A: ['192.0.2.2'] },
        'other.test': { MX: ['10 a.signed.test'] },
      },
      signed: ['example.test', 'signed.test'],
    })
    expect(await resolveMailExchangers(resolver, 'example.test')).toMatchObject({
      isAuthenticated: true,
      hosts: [{ isAuthenticated: true }, { isAuthenticated: false }],
    })
    expect(await resolveMailExchangers(resolver, 'other.test')).toMatchObject({
      isAuthenticated: false,
      hosts: [{ isAuthenticated: false }],
    })
    expect(dns.count('a.signed.test', 'A')).toBe(1)
  })
})

describe('D1: what is only out of order is unavailable', () => {
  test.each(['servfail', 'refused', 'silent', 'garbage'] as const)('MX: %s', async (behaviour) => {
    const found = await exchangers({ behaviour: { '*': behaviour } })
    expect(found).toMatchObject({
      kind: 'unavailable',
      detail: expect.stringContaining('MX of example.test'),
    })
  })

  test('the addresses of all exchangers', async () => {
    const found = await exchangers({
      records: { 'example.test': { MX: ['10 a.example.test', '20 no.example.test'] } },
      behaviour: { 'a.example.test': 'servfail' },
    })
    expect(found).toMatchObject({ kind: 'unavailable', detail: expect.stringContaining('a.example.test') })
  })

  test('the address of a domain without exchangers', async () => {
    const found = await exchangers({
      records: { 'example.test': { TXT: ['here'] } },
      behaviour: { 'example.test AAAA': 'servfail' },
    })
    expect(found).toMatchObject({ kind: 'unavailable' })
  })
})

describe('D2: nothing there to take mail', () => {
  test('a missing domain', async () => {
    const detail = 'the domain example.test does not exist'
    expect(await exchangers({})).toEqual({ kind: 'unknown', isConfirmed: false, detail })
    expect(await exchangers({}, 2)).toEqual({ kind: 'unknown', isConfirmed: true, detail })
  })

  test('neither MX nor address, which nobody has confirmed', async () => {
    expect(await exchangers({ records: { 'example.test': { TXT: ['here'] } } }, 2)).toEqual({
      kind: 'unknown',
      isConfirmed: false,
      detail: 'example.test has neither exchangers (MX) nor an address (A, AAAA)',
    })
  })

  test('exchangers that are all missing', async () => {
    const records = { 'example.test': { MX: ['10 no.example.test', '20 gone.example.test'] } }
    const detail = 'no exchanger of example.test has an address: no.example.test, gone.example.test'
    expect(await exchangers({ records })).toEqual({ kind: 'unknown', isConfirmed: false, detail })
    expect(await exchangers({ records }, 2)).toEqual({ kind: 'unknown', isConfirmed: true, detail })
  })
})

describe('D3: without MX', () => {
  test('the domain itself is the host', async () => {
    expect(
      await exchangers({ records: { 'example.test': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] } } }),
    ).toEqual({
      kind: 'hosts',
      hosts: [
        {
          name: 'example.test',
          priority: 0,
          addresses: ['192.0.2.1', '2001:db8::1'],
          isAuthenticated: false,
        },
      ],
      isImplicit: true,
      isAuthenticated: false,
    })
  })

  test('but never while it is unknown whether there are some', async () => {
    const found = await exchangers({
      records: { 'example.test': { A: ['192.0.2.1'] } },
      behaviour: { 'example.test MX': 'servfail' },
    })
    expect(found).toMatchObject({ kind: 'unavailable' })
  })
})

describe('D4: null MX', () => {
  test('alone takes no mail, whatever addresses there are', async () => {
    const { dns, resolver } = await world({ records: { 'example.test': { MX: ['0 .'], A: ['192.0.2.1'] } } })
    expect(await resolveMailExchangers(resolver, 'example.test')).toEqual({ kind: 'null_mx' })
    expect(dns.count('example.test', 'A')).toBe(0)
  })

  test('among others is junk', async () => {
    const found = await exchangers({
      records: {
        'example.test': { MX: ['0 .', '10 a.example.test'] },
        'a.example.test': { A: ['192.0.2.1'] },
      },
    })
    expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'a.example.test' }] })
  })
})

describe('D6: junk', () => {
  test('in the place of names is ignored', async () => {
    const found = await exchangers({
      records: {
        'example.test': {
          MX: ['1 127.0.0.1', '2 10.1', '3 a_b.test', '4 -x.test', '5 a.example.test', '6 0x7f.0x1'],
        },
        'a.example.test': { A: ['192.0.2.1'] },
        '127.0.0.1': { A: ['127.0.0.1'] },
      },
    })
    expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'a.example.test' }] })
  })

  test('alone is told as such', async () => {
    expect(await exchangers({ records: { 'example.test': { MX: ['1 192.0.2.1', '2 .'] } } })).toEqual({
      kind: 'unknown',
      isConfirmed: false,
      detail: 'no exchanger of example.test is the name of a host: 192.0.2.1, .',
    })
  })

  test('of 500 exchangers the ten best are read, each name once', async () => {
    const listed = Array.from({ length: 500 }, (_, at) => `${500 - at} mx${500 - at}.many.test`)
    const { dns, resolver } = await world({
      records: {
        'example.test': { MX: [...listed, '9000 mx1.many.test'] },
        '*.many.test': { A: ['192.0.2.1'] },
      },
    })
    const found = await resolveMailExchangers(resolver, 'example.test')
    const names = found.kind === 'hosts' ? found.hosts.map(({ name }) => name) : found
    expect(names).toEqual(Array.from({ length: 10 }, (_, at) => `mx${at + 1}.many.test`))
    expect(dns.questions.filter(({ type }) => type === 'A')).toHaveLength(10)
  })

  test('of hundreds of addresses 20 are read, eight at most of one host', async () => {
    const many = Array.from({ length: 50 }, (_, at) => `192.0.2.${at + 1}`)
    const found = await exchangers({
      records: {
        'example.test': { MX: ['1 a.test', '2 b.test', '3 c.test', '4 d.test'] },
        'a.test': { A: many, AAAA: ['2001:db8::1', '2001:db8::2'] },
        'b.test': { A: many },
        'c.test': { A: many },
        'd.test': { A: many },
      },
    })
    const counts = found.kind === 'hosts' ? found.hosts.map(({ addresses }) => addresses.length) : []
    expect(counts).toEqual([8, 8, 4])
    expect(found).toMatchObject({
      hosts: [{ addresses: [...many.slice(0, 6), '2001:db8::1', '2001:db8::2'] }, {}, {}],
    })
  })

  test('exchangers that are aliases have the addresses of their targets', async () => {
    const found = await exchangers({
      records: {
        'example.test': { MX: ['10 a.test', '20 loop.test'] },
        'a.test': { CNAME: ['b.test'] },
        'b.test': { A: ['192.0.2.1'] },
        'loop.test': { CNAME: ['loop.test'] },
      },
    })
    expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'a.test', addresses: ['192.0.2.1'] }] })
  })
})

describe('D9: one family of addresses', () => {
  test.each(['A', 'AAAA'])(
    'is used where nothing is ever answered about the other: %s is silent',
    async (type) => {
      const { resolver } = await world({
        records: {
          'example.test': { MX: ['10 a.test'] },
          'a.test': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] },
        },
        behaviour: { [`a.test ${type}`]: 'silent' },
      })
      // The look-up of the silent one ends after 2 s, later than all addresses may take.
      const found = await resolveMailExchangers(resolver, 'example.test', { addressesMs: 1_500, graceMs: 20 })
      const addresses = type === 'A' ? ['2001:db8::1'] : ['192.0.2.1']
      expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'a.test', addresses }] })
    },
  )

  test('waits a moment for the other, which may be slower', async () => {
    const { resolver } = await world({
      records: {
        'example.test': { MX: ['10 a.test'] },
        'a.test': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] },
      },
      behaviour: { 'a.test AAAA': { delayMs: 50 } },
    })
    const found = await resolveMailExchangers(resolver, 'example.test')
    expect(found).toMatchObject({ hosts: [{ addresses: ['192.0.2.1', '2001:db8::1'] }] })
  })
})

describe('D8: slow answers', () => {
  test('of one host do not hold up the others, and are there for the next mail', async () => {
    const { dns, resolver } = await world({
      records: {
        'example.test': { MX: ['10 a.test', '20 silent.test'] },
        'a.test': { A: ['192.0.2.1'] },
        'silent.test': { A: ['192.0.2.2'] },
      },
      behaviour: { 'silent.test': 'silent' },
    })
    const found = await resolveMailExchangers(resolver, 'example.test', { graceMs: 1 })
    expect(found).toMatchObject({ kind: 'hosts', hosts: [{ name: 'a.test' }] })
    dns.behaviour = {}
    const later = await resolveMailExchangers(resolver, 'example.test')
    expect(later).toMatchObject({ hosts: [{ name: 'a.test' }, { name: 'silent.test' }] })
  })

  test('of the best host are waited for while only others are known', async () => {
    const { resolver } = await world({
      records: {
        'example.test': { MX: ['10 slow.test', '20 b.test'] },
        'slow.test': { A: ['192.0.2.1'] },
        'b.test': { A: ['192.0.2.2'] },
      },
      behaviour: { 'slow.test': { delayMs: 200 } },
    })
    const found = await resolveMailExchangers(resolver, 'example.test', { graceMs: 1 })
    expect(found).toMatchObject({ hosts: [{ name: 'slow.test' }, { name: 'b.test' }] })
  })

  test('of all hosts are unavailable at the deadline', async () => {
    const { resolver } = await world({
      records: { 'example.test': { MX: ['10 a.test'] } },
      behaviour: { 'a.test': 'silent' },
    })
    expect(await resolveMailExchangers(resolver, 'example.test', { addressesMs: 20 })).toEqual({
      kind: 'unavailable',
      detail: 'no answer about the addresses of a.test in time',
    })
  })
})
