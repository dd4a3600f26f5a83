import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type DnsServer,
  type DnsServerOptions,
  startDnsServer,
} from '../../../../tests/support/dns-server.ts'
import type { Resolver } from './dns-answer.ts'
import { createResolver, type ResolverOptions } from './resolver.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const end of cleanUp.splice(0)) await end()
})

async function serve(options: DnsServerOptions = {}): Promise<DnsServer> {
  const server = await startDnsServer(options)
  cleanUp.push(() => server.stop())
  return server
}

/** Hasty, so that no test waits for seconds. */
function ask(servers: readonly DnsServer[], options: Partial<ResolverOptions> = {}): Resolver {
  const resolver = createResolver({
    servers: servers.map((server) => server.address),
    timeoutMs: 10_000,
    patienceMs: 400,
    ...options,
  })
  cleanUp.push(() => resolver.close())
  return resolver
}

describe('records', () => {
  test('of each type come as delivery wants them', async () => {
    const dns = await serve({
      records: {
        'example.test': {
          A: ['192.0.2.1', '192.0.2.2'],
          AAAA: ['2001:db8::1', '::ffff:10.0.0.1', '64:ff9b::a00:1'],
          MX: ['10 MX1.Example.Test', '0 .'],
          TXT: ['v=spf1 -all', 'x'.repeat(600)],
        },
        'www.example.test': { CNAME: ['Example.test'] },
        '192.0.2.1': { PTR: ['Host.example.test'] },
        '_25._tcp.example.test': { TLSA: [`3 1 1 ${'ab'.repeat(32)}`] },
      },
    })
    const resolver = ask([dns])
    const records = async (name: string, type: Parameters<Resolver['resolve']>[1]) => {
      const answer = await resolver.resolve(name, type)
      return answer.kind === 'records' ? answer.records : answer
    }
    expect(await records('example.test', 'A')).toEqual(['192.0.2.1', '192.0.2.2'])
    expect(await records('EXAMPLE.test.', 'AAAA')).toEqual(['2001:db8::1', '::ffff:a00:1', '64:ff9b::a00:1'])
    expect(await records('example.test', 'MX')).toEqual([
      { exchange: 'mx1.example.test', priority: 10 },
      { exchange: '', priority: 0 },
    ])
    expect(await records('example.test', 'TXT')).toEqual(['v=spf1 -all', 'x'.repeat(600)])
    expect(await records('www.example.test', 'CNAME')).toEqual(['example.test'])
    expect(await records('1.2.0.192.in-addr.arpa', 'PTR')).toEqual(['host.example.test'])
    expect(await records('_25._tcp.example.test', 'TLSA')).toEqual([
      { usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(32, 0xab) },
    ])
  })
})

describe('D1: what is only out of order', () => {
  test.each(['servfail', 'refused', 'formerr', 'garbage', 'wrong_question'] as const)(
    '%s is unavailable, never a missing name',
    async (behaviour) => {
      const dns = await serve({ behaviour: { '*': behaviour } })
      const answer = await ask([dns]).resolve('example.test', 'MX')
      expect(answer).toMatchObject({ kind: 'unavailable' })
    },
  )

  test('SERVFAIL is told as such, and asked only once', async () => {
    const dns = await serve({ behaviour: { '*': 'servfail' } })
    const answer = await ask([dns]).resolve('example.test', 'MX')
    expect(answer).toEqual({
      kind: 'unavailable',
      detail: 'no answer about MX of example.test: the resolver answered SERVFAIL',
    })
    expect(dns.count('example.test')).toBe(1)
  })

  test('a resolver that names the cause (RFC 8914) is quoted', async () => {
    const bytes = Buffer.from(
      '8182 0001 0000 0000 0001 0765 7861 6d70 6c65 0474 6573 7400 0001 0001'.replaceAll(' ', ''),
      'hex',
    )
    const opt = Buffer.from('00 0029 04d0 0000 0000 0006 000f 0002 0007'.replaceAll(' ', ''), 'hex')
    const dns = await serve({ behaviour: { '*': { bytes: Buffer.concat([bytes, opt]) } } })
    expect(await ask([dns]).resolve('example.test', 'A')).toMatchObject({
      detail:
        'no answer about A of example.test: the resolver answered SERVFAIL: a DNSSEC signature has expired',
    })
  })

  test('silence ends at the deadline', async () => {
    const dns = await serve({ behaviour: { '*': 'silent' } })
    const answer = await ask([dns], { timeoutMs: 1_000, patienceMs: 50 }).resolve('example.test', 'MX')
    expect(answer).toEqual({
      kind: 'unavailable',
      detail: 'no answer about MX of example.test: the resolver did not reply within 1 s',
    })
    expect(dns.count('example.test', 'MX', 'udp')).toBe(2)
    expect(dns.count('example.test', 'MX', 'tcp')).toBe(1)
  })

  test('each server is told about', async () => {
    const first = await serve({ behaviour: { '*': 'refused' } })
    const second = await serve({ behaviour: { '*': 'servfail' } })
    expect(await ask([first, second]).resolve('example.test', 'MX')).toMatchObject({
      detail: 'no answer about MX of example.test: resolver 1 answered REFUSED; resolver 2 answered SERVFAIL',
    })
  })

  test('a closed port is told at once', async () => {
    const dns = await startDnsServer()
    await dns.stop()
    const answer = await ask([dns], { timeoutMs: 60_000, patienceMs: 50_000 }).resolve('example.test', 'MX')
    expect(answer).toEqual({
      kind: 'unavailable',
      detail: 'no answer about MX of example.test: the resolver cannot be reached (ECONNREFUSED)',
    })
  })

  test.each(['servfail', 'refused', 'silent', 'garbage', 'formerr', 'wrong_id'] as const)(
    'with %s the next server is asked',
    async (behaviour) => {
      const broken = await serve({ behaviour: { '*': behaviour } })
      const good = await serve({ records: { 'example.test': { A: ['192.0.2.1'] } } })
      const answer = await ask([broken, good]).resolve('example.test', 'A')
      expect(answer).toMatchObject({ kind: 'records', records: ['192.0.2.1'] })
      expect(broken.count('example.test')).toBeGreaterThan(0)
    },
  )

  test('a server that keeps silent is asked last for a while', async () => {
    const silent = await serve({ behaviour: { '*': 'silent' } })
    const good = await serve({ records: { '*.test': { A: ['192.0.2.1'] } } })
    const resolver = ask([silent, good])
    await resolver.resolve('a.test', 'A')
    await resolver.resolve('b.test', 'A')
    expect(silent.count()).toBe(1)
  })

  test('a truncated answer is fetched by TCP', async () => {
    const dns = await serve({
      records: { 'example.test': { A: ['192.0.2.1'] } },
      behaviour: { '*': 'truncated' },
    })
    expect(await ask([dns]).resolve('example.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(dns.questions.map(({ transport }) => transport)).toEqual(['udp', 'tcp'])
  })

  test('a truncated answer that TCP cuts off is unavailable', async () => {
    const dns = await serve({
      records: { 'example.test': { TXT: ['x'.repeat(2000)] } },
      behaviour: { '*': 'tcp_cut' },
    })
    expect(await ask([dns]).resolve('example.test', 'TXT')).toMatchObject({
      detail: 'no answer about TXT of example.test: the resolver cut the connection',
    })
  })

  test('a server that only speaks TCP answers, and from then on at once', async () => {
    const dns = await serve({ records: { '*.test': { A: ['192.0.2.1'] } }, behaviour: { '*': 'tcp_only' } })
    const resolver = ask([dns])
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(await resolver.resolve('b.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(dns.count('b.test', 'A', 'udp')).toBe(0)
  })

  test('a server from before EDNS answers', async () => {
    const dns = await serve({ records: { '*.test': { A: ['192.0.2.1'] } }, behaviour: { '*': 'no_edns' } })
    const resolver = ask([dns])
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(await resolver.resolve('b.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(dns.count('a.test')).toBe(2)
    expect(dns.count('b.test')).toBe(1)
  })

  test('a server that refers us elsewhere instead of resolving says nothing about the name', async () => {
    const question = '0765 7861 6d70 6c65 0474 6573 7400 0001 0001'
    const bytes = Buffer.from(`8100 0001 0000 0000 0000 ${question}`.replaceAll(' ', ''), 'hex')
    const dns = await serve({ behaviour: { '*': { bytes } } })
    expect(await ask([dns]).resolve('example.test', 'A')).toMatchObject({ kind: 'unavailable' })
  })

  test('an answer that comes after the next server was asked still counts', async () => {
    const slow = await serve({
      records: { 'example.test': { A: ['192.0.2.1'] } },
      behaviour: { '*': { delayMs: 300 } },
    })
    const answer = await ask([slow], { patienceMs: 20, timeoutMs: 10_000 }).resolve('example.test', 'A')
    expect(answer).toMatchObject({ records: ['192.0.2.1'] })
  })

  test('replies of strangers are passed over', async () => {
    const dns = await serve({
      records: { 'example.test': { A: ['192.0.2.1'] } },
      behaviour: { '*': 'wrong_id' },
    })
    const resolver = ask([dns], { timeoutMs: 10_000, patienceMs: 100 })
    const answer = resolver.resolve('example.test', 'A')
    await dns.asked('example.test')
    dns.behaviour = {}
    expect(await answer).toMatchObject({ records: ['192.0.2.1'] })
  })
})

describe('D2: a missing name', () => {
  test('is confirmed when a second server says so too', async () => {
    const answer = await ask([await serve(), await serve()]).resolve('no.test', 'MX')
    expect(answer).toEqual({ kind: 'unknown_name', isAuthenticated: false, isConfirmed: true })
  })

  test('is not confirmed by the only server', async () => {
    expect(await ask([await serve()]).resolve('no.test', 'MX')).toMatchObject({ isConfirmed: false })
  })

  test.each(['servfail', 'silent'] as const)(
    'is not confirmed by a second server with %s',
    async (behaviour) => {
      const second = await serve({ behaviour: { '*': behaviour } })
      const answer = await ask([await serve(), second], { timeoutMs: 500 }).resolve('no.test', 'MX')
      expect(answer).toMatchObject({ kind: 'unknown_name', isConfirmed: false })
    },
  )

  test('is not missing when the second server knows it', async () => {
    const second = await serve({ records: { 'new.test': { A: ['192.0.2.1'] } } })
    const resolver = ask([await serve(), second])
    expect(await resolver.resolve('new.test', 'A')).toMatchObject({ kind: 'records' })
    expect(await resolver.resolve('new.test', 'MX')).toMatchObject({ kind: 'no_data' })
  })

  test('differs from a name without such a record', async () => {
    const dns = await serve({ records: { 'a.example.test': { A: ['192.0.2.1'] } } })
    const resolver = ask([dns])
    expect(await resolver.resolve('a.example.test', 'MX')).toEqual({
      kind: 'no_data',
      isAuthenticated: false,
    })
    expect(await resolver.resolve('example.test', 'MX')).toEqual({ kind: 'no_data', isAuthenticated: false })
  })

  test('that the DNS cannot even hold needs no question', async () => {
    const dns = await serve()
    for (const name of [
      '',
      '.',
      'a..test',
      `${'a'.repeat(64)}.test`,
      `${'a.'.repeat(127)}test`,
      'bücher.test',
      'a b.test',
    ]) {
      expect(await ask([dns]).resolve(name, 'A')).toMatchObject({ kind: 'unknown_name', isConfirmed: true })
    }
    expect(dns.count()).toBe(0)
  })
})

describe('D6: aliases', () => {
  const chain = (length: number) =>
    Object.fromEntries(Array.from({ length }, (_, at) => [`c${at}.test`, { CNAME: [`c${at + 1}.test`] }]))

  test('are followed eight times', async () => {
    const dns = await serve({ records: { ...chain(8), 'c8.test': { A: ['192.0.2.1'] } } })
    expect(await ask([dns]).resolve('c0.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
  })

  test('are not followed a ninth time', async () => {
    const dns = await serve({ records: { ...chain(9), 'c9.test': { A: ['192.0.2.1'] } } })
    expect(await ask([dns]).resolve('c0.test', 'A')).toEqual({
      kind: 'unavailable',
      detail: 'c0.test leads through more than 8 aliases (CNAME)',
    })
  })

  test('in a circle are unavailable', async () => {
    const dns = await serve({ records: { 'a.test': { CNAME: ['b.test'] }, 'b.test': { CNAME: ['A.test'] } } })
    expect(await ask([dns]).resolve('a.test', 'A')).toEqual({
      kind: 'unavailable',
      detail: 'the aliases (CNAME) of a.test run in a circle',
    })
  })

  test('whose target is missing are a missing name, those without such a record are not', async () => {
    const dns = await serve({
      records: {
        'a.test': { CNAME: ['no.test'] },
        'b.test': { CNAME: ['c.test'] },
        'c.test': { A: ['192.0.2.1'] },
      },
    })
    const resolver = ask([dns])
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ kind: 'unknown_name' })
    expect(await resolver.resolve('b.test', 'MX')).toMatchObject({ kind: 'no_data' })
  })

  test('that a resolver leaves to us are asked for', async () => {
    const dns = await serve({
      records: {
        'a.test': { CNAME: ['b.test'] },
        'b.test': { CNAME: ['c.test'] },
        'c.test': { A: ['192.0.2.1'] },
      },
      onlyFirstAlias: true,
    })
    expect(await ask([dns]).resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    dns.set('c.test', 'CNAME', ['a.test'])
    dns.remove('c.test', 'A')
    expect(await ask([dns]).resolve('a.test', 'A')).toMatchObject({ kind: 'unavailable' })
  })
})

describe('D8: kept answers', () => {
  /** A resolver whose clock only moves by `pass`. */
  function still(servers: readonly DnsServer[], options: Partial<ResolverOptions> = {}) {
    let at = 0
    const resolver = ask(servers, { now: () => at, ...options })
    return {
      resolver,
      pass: (seconds: number) => {
        at += seconds * 1000
      },
    }
  }

  test('hold for their TTL, and no longer', async () => {
    const dns = await serve({ records: { 'a.test': { A: ['192.0.2.1'] } }, ttl: 60 })
    const { resolver, pass } = still([dns])
    await resolver.resolve('a.test', 'A')
    pass(59.9)
    expect(await resolver.resolve('A.Test.', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(dns.count('a.test')).toBe(1)
    dns.set('a.test', 'A', ['192.0.2.2'])
    pass(0.1)
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.2'] })
  })

  test('are of one type', async () => {
    const dns = await serve({ records: { 'a.test': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] } } })
    const resolver = ask([dns])
    await resolver.resolve('a.test', 'A')
    expect(await resolver.resolve('a.test', 'AAAA')).toMatchObject({ records: ['2001:db8::1'] })
  })

  test('hold no longer than an hour', async () => {
    const dns = await serve({ records: { 'a.test': { A: ['192.0.2.1'] } }, ttl: 604_800 })
    const { resolver, pass } = still([dns])
    await resolver.resolve('a.test', 'A')
    pass(3_600)
    await resolver.resolve('a.test', 'A')
    expect(dns.count('a.test')).toBe(2)
  })

  test('hold as long as the shortest of aliases and records', async () => {
    const dns = await serve({ records: { 'a.test': { CNAME: ['b.test'] }, 'b.test': { A: ['192.0.2.1'] } } })
    dns.set('a.test', 'CNAME', ['b.test'], 10)
    const { resolver, pass } = still([dns])
    await resolver.resolve('a.test', 'A')
    pass(10)
    await resolver.resolve('a.test', 'A')
    expect(dns.count('a.test')).toBe(2)
  })

  test('with TTL 0 are not kept (D7: the next look-up may say something else)', async () => {
    const dns = await serve({ records: { 'rebind.test': { A: [['192.0.2.1'], ['127.0.0.1']] } }, ttl: 0 })
    const resolver = ask([dns])
    expect(await resolver.resolve('rebind.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
    expect(await resolver.resolve('rebind.test', 'A')).toMatchObject({ records: ['127.0.0.1'] })
  })

  test('of missing records hold as the SOA says, four minutes at most', async () => {
    const dns = await serve({ records: { 'a.test': { A: ['192.0.2.1'] } }, negativeTtl: 86_400 })
    const { resolver, pass } = still([dns])
    await resolver.resolve('a.test', 'MX')
    pass(239)
    await resolver.resolve('a.test', 'MX')
    expect(dns.count('a.test', 'MX')).toBe(1)
    pass(1)
    await resolver.resolve('a.test', 'MX')
    expect(dns.count('a.test', 'MX')).toBe(2)
  })

  test('of missing names that nobody confirmed hold a minute at most', async () => {
    const dns = await serve({ negativeTtl: 86_400 })
    const alone = still([dns])
    await alone.resolver.resolve('no.test', 'MX')
    alone.pass(60)
    await alone.resolver.resolve('no.test', 'MX')
    expect(dns.count('no.test')).toBe(2)
    const both = still([dns, await serve({ negativeTtl: 86_400 })])
    await both.resolver.resolve('gone.test', 'MX')
    both.pass(239)
    expect(await both.resolver.resolve('gone.test', 'MX')).toMatchObject({ isConfirmed: true })
    expect(dns.count('gone.test')).toBe(1)
  })

  test('without SOA are not kept when negative', async () => {
    const dns = await serve({ negativeTtl: null })
    const resolver = ask([dns])
    await resolver.resolve('no.test', 'MX')
    await resolver.resolve('no.test', 'MX')
    expect(dns.count('no.test')).toBe(2)
  })

  test('of failures hold for a second', async () => {
    const dns = await serve({
      records: { 'a.test': { A: ['192.0.2.1'] } },
      behaviour: { 'a.test': 'servfail' },
    })
    const { resolver, pass } = still([dns])
    await resolver.resolve('a.test', 'A')
    dns.behaviour = {}
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ kind: 'unavailable' })
    expect(dns.count('a.test')).toBe(1)
    pass(1)
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.1'] })
  })

  test('are bounded in number: the one not asked for longest goes', async () => {
    const dns = await serve({ records: { '*.test': { A: ['192.0.2.1'] } } })
    const resolver = ask([dns], { cache: { entries: 2, bytes: 1e6 } })
    for (const name of ['a.test', 'b.test', 'a.test', 'c.test', 'a.test', 'b.test'])
      await resolver.resolve(name, 'A')
    expect([dns.count('a.test'), dns.count('b.test'), dns.count('c.test')]).toEqual([1, 2, 1])
  })

  test('are bounded in size: what a domain publishes cannot fill the memory', async () => {
    const dns = await serve({ records: { '*.test': { TXT: ['x'.repeat(900)] } } })
    const resolver = ask([dns], { cache: { entries: 1_000, bytes: 2_500 } })
    for (const name of ['a.test', 'b.test', 'c.test', 'c.test', 'b.test', 'a.test'])
      await resolver.resolve(name, 'TXT')
    expect([dns.count('a.test'), dns.count('b.test'), dns.count('c.test')]).toEqual([2, 1, 1])
  })

  test('are not changed by whoever has them', async () => {
    const dns = await serve({ records: { 'a.test': { A: ['192.0.2.1', '192.0.2.2'] } } })
    const resolver = ask([dns])
    const answer = await resolver.resolve('a.test', 'A')
    if (answer.kind === 'records') answer.records.length = 0
    expect(await resolver.resolve('a.test', 'A')).toMatchObject({ records: ['192.0.2.1', '192.0.2.2'] })
  })
})

describe('look-ups under way', () => {
  test('of one question are joined, also where the answer is not kept', async () => {
    const dns = await serve({
      records: { 'a.test': { A: ['192.0.2.1'] } },
      ttl: 0,
      behaviour: { 'a.test': 'silent' },
    })
    const resolver = ask([dns], { patienceMs: 100 })
    const answers = Array.from({ length: 100 }, () => resolver.resolve('a.test', 'A'))
    await dns.asked('a.test')
    answers.push(resolver.resolve('A.TEST', 'A'))
    dns.behaviour = {}
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ records: ['192.0.2.1'] })
    // One that was not answered, and the second try by UDP and TCP.
    expect(dns.count('a.test')).toBeLessThanOrEqual(3)
  })

  test('are bounded: the others wait for their turn', async () => {
    const dns = await serve({
      records: { '*.test': { A: ['192.0.2.1'] } },
      behaviour: { 'silent.test': 'silent' },
    })
    const resolver = ask([dns], { concurrency: 2 })
    const answers = ['silent.test', 'a.test', 'b.test', 'c.test'].map((name) => resolver.resolve(name, 'A'))
    expect(dns.count('c.test')).toBe(0)
    for (const answer of answers.slice(1)) expect(await answer).toMatchObject({ kind: 'records' })
    dns.behaviour = {}
    expect(await answers[0]).toMatchObject({ kind: 'records' })
  })

  test('that do not get their turn in time are unavailable', async () => {
    const resolver = ask([await serve()], { concurrency: 0, timeoutMs: 10 })
    expect(await resolver.resolve('a.test', 'A')).toEqual({
      kind: 'unavailable',
      detail: 'too many questions to the DNS: a.test did not get its turn',
    })
  })

  test('a thousand at once are all answered', async () => {
    const dns = await serve({ records: { '*.test': { A: ['192.0.2.1'] } } })
    const resolver = ask([dns], { patienceMs: 200 })
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => resolver.resolve(`n${at}.test`, 'A')),
    )
    expect(answers.filter(({ kind }) => kind !== 'records')).toEqual([])
  })

  test('end when the resolver is closed, and none begin', async () => {
    const dns = await serve({ behaviour: { '*': 'silent' } })
    const resolver = ask([dns], { timeoutMs: 60_000, patienceMs: 60_000 })
    const answer = resolver.resolve('a.test', 'A')
    await dns.asked('a.test')
    resolver.close()
    expect(await answer).toMatchObject({ kind: 'unavailable' })
    expect(await resolver.resolve('b.test', 'A')).toMatchObject({ kind: 'unavailable' })
    expect(dns.count('b.test')).toBe(0)
  })
})

describe('DNSSEC', () => {
  const records = {
    'a.signed.test': { A: ['192.0.2.1'] },
    'b.signed.test': { CNAME: ['c.test'] },
    'c.test': { A: ['192.0.2.2'] },
  }

  test('vouches for answers with AD, whatever they say', async () => {
    const dns = await serve({ records, signed: ['signed.test'] })
    const resolver = ask([dns])
    expect(await resolver.resolve('a.signed.test', 'A')).toMatchObject({ isAuthenticated: true })
    expect(await resolver.resolve('a.signed.test', 'MX')).toEqual({ kind: 'no_data', isAuthenticated: true })
    expect(await resolver.resolve('no.signed.test', 'MX')).toMatchObject({
      kind: 'unknown_name',
      isAuthenticated: true,
    })
    expect(await resolver.resolve('c.test', 'A')).toMatchObject({ isAuthenticated: false })
  })

  test('vouches for an alias only when it vouches for the target too', async () => {
    const dns = await serve({ records, signed: ['signed.test'] })
    expect(await ask([dns]).resolve('b.signed.test', 'A')).toMatchObject({
      kind: 'records',
      isAuthenticated: false,
    })
    const forwarder = await serve({ records, signed: ['signed.test'], onlyFirstAlias: true })
    forwarder.set('d.test', 'CNAME', ['a.signed.test'])
    expect(await ask([forwarder]).resolve('d.test', 'A')).toMatchObject({
      kind: 'records',
      isAuthenticated: false,
    })
    expect(await ask([forwarder]).resolve('b.signed.test', 'A')).toMatchObject({
      kind: 'records',
      isAuthenticated: false,
    })
  })

  test('is not believed from a resolver that is not trusted', async () => {
    const dns = await serve({ records, signed: ['.'] })
    expect(await ask([dns], { trustsAd: false }).resolve('c.test', 'A')).toMatchObject({
      isAuthenticated: false,
    })
  })
})

test('random replies never make it throw, and leave nothing open', async () => {
  const dns = await serve()
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(), async (octets, number) => {
      dns.behaviour = { '*': { bytes: Buffer.from(octets) } }
      const answer = await ask([dns], { timeoutMs: 5_000, patienceMs: 4_000 }).resolve(
        `n${number}.test`,
        'MX',
      )
      expect(answer.kind).toBe('unavailable')
    }),
    { numRuns: 200 },
  )
})
