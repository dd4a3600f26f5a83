/** What a domain's exchangers must offer, with a real DNS server and a real policy host. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { policyAnswer, policyText } from '../../../../tests/support/policy-host.ts'
import { resolveMailExchangers } from '../dns/mail-exchangers.ts'
import { openReceiverWorld, type ReceiverWorld, ttlSeconds } from '../testing/receiver-world.ts'
import {
  createTlsPolicies,
  type DomainTlsPolicy,
  type HostTlsPolicy,
  type TlsPolicyParts,
} from './tls-policies.ts'

const mx = 'mx.example.com'
const tlsaName = `_25._tcp.${mx}`
const digest = createHash('sha256').update('a key').digest()
const usable = `3 1 1 ${digest.toString('hex')}`
const record = { usage: 3, selector: 1, matchingType: 1, data: digest }
/** PKIX usage: not for SMTP. */
const unusable = `1 1 1 ${digest.toString('hex')}`

let world: ReceiverWorld
beforeEach(async () => {
  world = await openReceiverWorld()
  world.dns.remove('_mta-sts.example.com')
})
afterEach(() => world.close())

/** As delivery asks: the exchangers first. */
async function judge(more: Partial<TlsPolicyParts> = {}): Promise<DomainTlsPolicy> {
  const parts = { ...world.parts(), ...more }
  const found = await resolveMailExchangers(parts.resolver, 'example.com')
  if (found.kind !== 'hosts') throw new Error(`no hosts: ${found.kind}`)
  return createTlsPolicies(parts).policyFor('example.com', found)
}
const hostOf = (policy: DomainTlsPolicy, name = mx): HostTlsPolicy | undefined => policy.hosts.get(name)
const judgeHost = async (name?: string, more?: Partial<TlsPolicyParts>) => hostOf(await judge(more), name)

/** DNSSEC vouches for these and what is below them; without names, for all of example.com. */
const sign = (...names: string[]) => {
  for (const name of names.length > 0 ? names : ['example.com']) world.dns.signed.add(name)
}
const publishSts = (mode: string, names: string[]) => {
  world.dns.set('_mta-sts.example.com', 'TXT', ['v=STSv1; id=1'])
  world.host.answer = policyAnswer(policyText(mode, names))
}

const free = {
  isUsable: true,
  demand: { tls: 'opportunistic', tlsPolicy: 'opportunistic' },
  reported: { type: 'no-policy-found', fault: null },
}
const dane = {
  isUsable: true,
  demand: { tls: 'dane', tlsa: [record], tlsNames: [mx, 'example.com'], tlsPolicy: 'dane' },
  reported: { type: 'tlsa', fault: null },
}
const sts = {
  isUsable: true,
  demand: { tls: 'required', tlsNames: [mx], tlsPolicy: 'mta-sts' },
  reported: { type: 'sts', fault: null },
}

test('where nothing is promised, TLS is opportunistic', async () => {
  expect(await judgeHost()).toEqual(free)
  sign()
  expect(await judgeHost()).toEqual(free)
})

describe('DANE', () => {
  beforeEach(() => world.dns.set(tlsaName, 'TLSA', [usable]))

  test('holds where DNSSEC vouches for exchangers, addresses and records', async () => {
    sign()
    expect(await judgeHost()).toEqual(dane)
  })

  test('is not asked for where DNSSEC does not vouch for the exchangers', async () => {
    sign(mx)
    expect(await judgeHost()).toEqual(free)
    expect(world.dns.count(tlsaName)).toBe(0)
  })

  test('is not asked for either where only the host itself is said to be vouched for', async () => {
    sign()
    const hosts = [{ name: mx, isAuthenticated: true }]
    const policies = createTlsPolicies(world.parts())
    const policy = await policies.policyFor('example.com', { isAuthenticated: false, hosts })
    expect(hostOf(policy)).toEqual(free)
  })

  test('is not asked for where DNSSEC does not vouch for the addresses', async () => {
    const name = '_25._tcp.mx.unsigned.example'
    world.dns.set('example.com', 'MX', ['10 mx.unsigned.example'])
    world.dns.set('mx.unsigned.example', 'A', ['127.0.0.1'])
    world.dns.set(name, 'TLSA', [usable])
    sign('example.com', name)
    expect(await judgeHost('mx.unsigned.example')).toEqual(free)
    expect(world.dns.count(name)).toBe(0)
  })

  test('does not hold by records that DNSSEC does not vouch for', async () => {
    world.dns.remove(tlsaName)
    world.dns.set(tlsaName, 'CNAME', ['tlsa.elsewhere.example'])
    world.dns.set('tlsa.elsewhere.example', 'TLSA', [usable])
    sign()
    expect(await judgeHost()).toEqual(free)
    sign('elsewhere.example')
    expect(await judgeHost()).toEqual(dane)
  })

  test.each([
    ['fails (SERVFAIL, as for bogus signatures)', 'servfail'],
    ['is refused', 'refused'],
    ['is not answered', 'silent'],
  ] as const)('the mail waits when the look-up %s (RFC 7672 §2.1)', async (_, behaviour) => {
    sign()
    world.dns.behaviour = { [tlsaName]: behaviour }
    const policy = await judge()
    expect(policy).toMatchObject({ kind: 'unavailable', detail: expect.stringContaining(tlsaName) })
    expect(hostOf(policy)).toMatchObject({
      isUsable: false,
      reported: { type: 'tlsa', fault: 'dnssec-invalid' },
    })
  })

  test('a failed look-up costs one host, and the mail goes to another', async () => {
    world.dns.set('example.com', 'MX', [`10 ${mx}`, '20 mx2.example.com'])
    world.dns.set('mx2.example.com', 'A', ['127.0.0.1'])
    world.dns.behaviour = { [tlsaName]: 'servfail' }
    sign()
    const policy = await judge()
    expect(policy.kind).toBe('hosts')
    expect(hostOf(policy)).toMatchObject({ isUsable: false })
    expect(hostOf(policy, 'mx2.example.com')).toEqual(free)
  })

  test('records that cannot be used still demand TLS, with whomever (RFC 7672 §2.2)', async () => {
    sign()
    world.dns.set(tlsaName, 'TLSA', [unusable])
    expect(await judgeHost()).toEqual({
      isUsable: true,
      demand: { tls: 'encrypted', tlsPolicy: 'dane' },
      reported: { type: 'tlsa', fault: 'tlsa-invalid' },
    })
  })

  test('records that can be used stand alone beside others that cannot', async () => {
    sign()
    world.dns.set(tlsaName, 'TLSA', [unusable, usable])
    expect(await judgeHost()).toEqual(dane)
  })

  test('asks by the port of the exchangers', async () => {
    sign()
    world.dns.set(`_2525._tcp.${mx}`, 'TLSA', [`3 1 1 ${'00'.repeat(32)}`])
    expect(await judgeHost(mx, { port: 2525 })).toMatchObject({
      demand: { tls: 'dane', tlsa: [{ data: Buffer.alloc(32) }] },
    })
  })

  test('of an alias is that of what it leads to, and its own where there is none (RFC 7672 §2.2.2)', async () => {
    world.dns.remove(mx)
    world.dns.set(mx, 'CNAME', ['real.example.com'])
    world.dns.set('real.example.com', 'A', ['127.0.0.1'])
    sign()
    expect(await judgeHost()).toEqual(dane)
    world.dns.set('_25._tcp.real.example.com', 'TLSA', [`3 1 1 ${'00'.repeat(32)}`])
    expect(await judgeHost()).toMatchObject({
      demand: { tlsa: [{ data: Buffer.alloc(32) }], tlsNames: ['real.example.com', 'example.com'] },
    })
  })

  test('of a domain without exchangers is that of its own address', async () => {
    world.dns.remove('example.com')
    world.dns.set('example.com', 'A', ['127.0.0.1'])
    world.dns.set('_25._tcp.example.com', 'TLSA', [usable])
    sign()
    expect(await judgeHost('example.com')).toMatchObject({
      demand: { tls: 'dane', tlsNames: ['example.com'] },
    })
  })
})

describe('MTA-STS', () => {
  test('in mode enforce demands a certificate for the host', async () => {
    publishSts('enforce', [mx])
    expect(await judgeHost()).toEqual(sts)
  })

  test('a host that the policy does not name is not used', async () => {
    world.dns.set('example.com', 'MX', [`20 ${mx}`, '10 odd.elsewhere.example'])
    world.dns.set('odd.elsewhere.example', 'A', ['127.0.0.1'])
    publishSts('enforce', ['*.example.com'])
    const policy = await judge()
    expect(policy.kind).toBe('hosts')
    expect(hostOf(policy)).toEqual(sts)
    expect(hostOf(policy, 'odd.elsewhere.example')).toEqual({
      isUsable: false,
      detail: 'the MTA-STS policy of example.com does not name odd.elsewhere.example, but *.example.com',
      reported: { type: 'sts', fault: 'validation-failure' },
    })
  })

  test('the mail waits when it names none of them', async () => {
    publishSts('enforce', ['mx.example.net'])
    expect(await judge()).toMatchObject({
      kind: 'unavailable',
      detail: expect.stringContaining('does not name'),
    })
  })

  test('in mode testing demands nothing and is heeded in reports', async () => {
    publishSts('testing', [mx])
    expect(await judgeHost()).toEqual({ ...free, reported: { type: 'sts', fault: null } })
    publishSts('testing', ['mx.example.net'])
    world.dns.set('_mta-sts.example.com', 'TXT', ['v=STSv1; id=2'])
    expect(await judgeHost()).toEqual({ ...free, reported: { type: 'sts', fault: 'validation-failure' } })
  })

  test('that cannot be had demands nothing, and is told so in reports', async () => {
    publishSts('enforce', [mx])
    world.host.answer = (_, response) => response.writeHead(404).end()
    expect(await judgeHost()).toEqual({ ...free, reported: { type: 'sts', fault: 'sts-policy-fetch-error' } })
  })

  test('that may be stored and cannot be read keeps the mail waiting', async () => {
    world.kept.trouble = new Error('the database is away')
    expect(await judge()).toMatchObject({ kind: 'unavailable', detail: expect.stringContaining('away') })
  })
})

describe('DANE before MTA-STS', () => {
  test('a host with TLSA records needs no authority and no policy', async () => {
    publishSts('enforce', ['mx.example.net'])
    world.dns.set(tlsaName, 'TLSA', [usable])
    sign()
    expect(await judgeHost()).toEqual(dane)
    expect(world.host.requests).toEqual([])
  })

  test('each host by what it has', async () => {
    world.dns.set('example.com', 'MX', [`10 ${mx}`, '10 mx2.example.com'])
    world.dns.set('mx2.example.com', 'A', ['127.0.0.1'])
    world.dns.set(tlsaName, 'TLSA', [usable])
    publishSts('enforce', ['*.example.com'])
    sign()
    const policy = await judge()
    expect(hostOf(policy)).toEqual(dane)
    expect(hostOf(policy, 'mx2.example.com')).toMatchObject({
      demand: { tls: 'required', tlsPolicy: 'mta-sts' },
    })
  })

  test('records that cannot be used do not void the policy', async () => {
    world.dns.set(tlsaName, 'TLSA', [unusable])
    publishSts('enforce', [mx])
    sign()
    expect(await judgeHost()).toEqual({ ...sts, reported: { type: 'tlsa', fault: 'tlsa-invalid' } })
  })

  test('records that cannot be used do not name a host that the policy does not', async () => {
    world.dns.set(tlsaName, 'TLSA', [unusable])
    publishSts('enforce', ['mx.example.net'])
    sign()
    expect(await judge()).toMatchObject({
      kind: 'unavailable',
      detail: expect.stringContaining('does not name'),
    })
  })

  test('a look-up that fails is not made good by a policy', async () => {
    world.dns.behaviour = { [tlsaName]: 'servfail' }
    publishSts('enforce', [mx])
    sign()
    expect(await judge()).toMatchObject({ kind: 'unavailable' })
  })
})

test.each(['[192.0.2.1]', '', 'a b.example', '*', 'x'.repeat(300), '\0.example', '_mta-sts.'])(
  'the domain %j has no policy, and breaks nothing',
  async (domain) => {
    const parts = world.parts()
    const hosts = [
      { name: '192.0.2.1', isAuthenticated: true },
      { name: 'odd host', isAuthenticated: true },
    ]
    const policy = await createTlsPolicies(parts).policyFor(domain, { isAuthenticated: true, hosts })
    expect([...policy.hosts.values()]).toEqual([free, free])
  },
)

test('answers are kept: many mails to one domain ask the DNS once', async () => {
  const parts = world.parts()
  const policies = createTlsPolicies(parts)
  const hosts = [{ name: mx, isAuthenticated: true }]
  world.dns.set(tlsaName, 'TLSA', [unusable])
  sign()
  for (let i = 0; i < 30; i += 1) await policies.policyFor('example.com', { isAuthenticated: true, hosts })
  expect([world.dns.count(tlsaName), world.dns.count('_mta-sts.example.com'), world.kept.reads]).toEqual([
    1, 1, 1,
  ])
  world.pass((ttlSeconds + 1) * 1000)
  await policies.policyFor('example.com', { isAuthenticated: true, hosts })
  expect(world.dns.count(tlsaName)).toBe(2)
})
