import { createResolver, type Resolver } from '@valija/courier'
import { afterEach, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../tests/support/dns-server.ts'
import { until } from '../../../tests/support/until.ts'
import { createMxReadiness, type MxReadinessParts } from './mx-readiness.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function serve(): Promise<{ dns: DnsServer; resolver: Resolver }> {
  const dns = await startDnsServer()
  const resolver = createResolver({
    servers: [dns.address],
    timeoutMs: 2_000,
    cache: { entries: 0, bytes: 0 },
  })
  closers.push(
    () => resolver.close(),
    () => dns.stop(),
  )
  return { dns, resolver }
}

function open(parts: Partial<MxReadinessParts> & Pick<MxReadinessParts, 'resolver'>) {
  const clock = { ms: 0 }
  const look = createMxReadiness({
    askedNames: ['bounce.acme.test', 'org'],
    ehloNames: () => ['mail.acme.test'],
    mxPort: 25,
    now: () => clock.ms,
    ...parts,
  })
  return { look, clock }
}

test('any answer counts, also that there is no such name', async () => {
  const { resolver } = await serve()
  expect(await open({ resolver }).look()).toEqual({
    isReady: true,
    checks: [
      { name: 'resolver', isOk: true, detail: 'The resolver answers.' },
      { name: 'ehlo_name', isOk: true, detail: 'EHLO says mail.acme.test.' },
    ],
  })
})

test('one name that cannot be resolved is its own fault, not that of the resolver', async () => {
  const { dns, resolver } = await serve()
  dns.behaviour = { 'bounce.acme.test': 'servfail' }
  expect((await open({ resolver }).look()).isReady).toBe(true)
})

test('without any answer it is not ready, and says why and what to do', async () => {
  const { dns, resolver } = await serve()
  dns.behaviour = { '*': 'refused' }
  const { isReady, checks } = await open({ resolver }).look()
  expect([isReady, checks[0]?.isOk]).toEqual([false, false])
  expect(checks[0]?.detail).toMatch(/REFUSED.*VALIJA_DNS_SERVERS/)
})

test('what was found is kept for ten seconds, then asked for anew', async () => {
  const { dns, resolver } = await serve()
  const { look, clock } = open({ resolver, askedNames: ['org'] })
  await look()
  const asked = dns.count()
  dns.behaviour = { '*': 'refused' }
  clock.ms = 9_999
  expect((await look()).isReady).toBe(true)
  expect(dns.count()).toBe(asked)
  clock.ms = 10_000
  expect((await look()).isReady).toBe(false)
  dns.behaviour = {}
  clock.ms = 20_000
  expect((await look()).isReady).toBe(true)
})

test('a resolver that is silent is not waited for: what was found last holds until it is known better', async () => {
  const { dns, resolver } = await serve()
  dns.behaviour = { '*': 'silent' }
  const { look, clock } = open({ resolver, askedNames: ['org'] })
  const first = await look()
  expect([first.isReady, first.checks[0]?.detail]).toEqual([
    false,
    expect.stringContaining('No answer has come yet'),
  ])
  await look()
  expect(dns.count()).toBe(1)
  await until('the silence is known', async () => (await look()).checks[0]?.detail.includes('did not reply'))
  dns.behaviour = {}
  clock.ms = 10_000
  expect((await look()).isReady).toBe(true)
  dns.behaviour = { '*': 'silent' }
  clock.ms = 20_000
  expect((await look()).isReady).toBe(true)
  await until('the silence is known', async () => !(await look()).isReady)
})

test('a name for EHLO that is no full one is essential on port 25, and told on others', async () => {
  const { resolver } = await serve()
  const ehloNames = () => ['vm']
  const onPort25 = await open({ resolver, ehloNames }).look()
  expect(onPort25.isReady).toBe(false)
  expect(onPort25.checks[1]).toMatchObject({
    isOk: false,
    detail: expect.stringContaining('VALIJA_EHLO_NAME'),
  })
  const inTests = await open({ resolver, ehloNames, mxPort: 2_525 }).look()
  expect([inTests.isReady, inTests.checks[1]?.isOk]).toEqual([true, false])
})

test('of several names one that is right is enough to send', async () => {
  const { resolver } = await serve()
  const { isReady, checks } = await open({ resolver, ehloNames: () => ['vm', 'mail.acme.test'] }).look()
  expect([isReady, checks[1]?.isOk]).toEqual([true, false])
})
