import { createResolver } from '@valija/courier'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import { askBlocklists, judgeBlocklists, publicBlocklists, type Subjects, subjectsOf } from './blocklists.ts'

let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer()
})
beforeEach(() => {
  dns.zone = Object.fromEntries(
    publicBlocklists.map(({ zone, kind, testEntry }) =>
      kind === 'addresses'
        ? [`2.0.0.127.${zone}`, { A: ['127.0.0.2'] }]
        : [`${testEntry}.${zone}`, { A: ['127.0.1.2'] }],
    ),
  )
  dns.behaviour = {}
})
afterAll(() => dns.stop())

const subjects: Subjects = { addresses: ['198.51.100.7', '2001:db8::7'], domains: ['acme.test'] }

async function look() {
  const resolver = createResolver({ servers: [dns.address], timeoutMs: 2_000 })
  const answers = await askBlocklists(resolver, publicBlocklists, subjects)
  resolver.close()
  return judgeBlocklists(answers, subjects)
}

const notOk = async () => (await look()).filter(({ status }) => status !== 'ok')

describe('blocklists', () => {
  test('that know nothing of us are named, for each address and domain', async () => {
    const checks = await look()
    expect(checks.map(({ subject, status }) => `${subject} ${status}`)).toEqual([
      '198.51.100.7 ok',
      '2001:db8::7 ok',
      'acme.test ok',
    ])
    expect(checks[0]?.detail).toContain('zen.spamhaus.org, bl.spamcop.net')
    expect(checks[2]?.detail).toBe('is not on dbl.spamhaus.org')
  })

  test.each([
    [
      '7.100.51.198.zen.spamhaus.org',
      '127.0.0.2',
      'failed',
      /SBL: a known source of spam/,
      /check\.spamhaus\.org/,
    ],
    ['7.100.51.198.zen.spamhaus.org', '127.0.0.6', 'failed', /XBL: /, /check\.spamhaus\.org/],
    ['7.100.51.198.zen.spamhaus.org', '127.0.0.10', 'failed', /PBL: /, /VALIJA_DELIVERY=smarthost/],
    ['7.100.51.198.bl.spamcop.net', '127.0.0.2', 'warning', /users reported/, /spamcop\.net\/bl/],
    ['7.100.51.198.b.barracudacentral.org', '127.0.0.2', 'warning', /barracuda/, /removal-request/],
    ['acme.test.dbl.spamhaus.org', '127.0.1.102', 'failed', /abused for spam/, /check\.spamhaus\.org/],
    [`7.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.zen.spamhaus.org`, '127.0.0.3', 'failed', /CSS/, /check\.spamhaus/],
  ])('%s %s is told with its meaning and the way off', async (name, code, status, detail, fix) => {
    dns.set(name, 'A', [code])
    expect(await notOk()).toMatchObject([
      { name: 'blocklist', status, detail: expect.stringMatching(detail), fix: expect.stringMatching(fix) },
    ])
  })

  test('that refuse the resolver say nothing of us', async () => {
    dns.zone = {
      ...dns.zone,
      '*.zen.spamhaus.org': { A: ['127.255.255.254'] },
      '2.0.0.127.zen.spamhaus.org': { A: ['127.255.255.254'] },
    }
    const checks = await look()
    expect(checks.filter(({ status }) => status === 'failed')).toEqual([])
    expect(checks.find(({ subject }) => subject === 'zen.spamhaus.org')).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('it is a public one'),
      fix: expect.stringContaining('a resolver of your own'),
    })
    expect(checks[0]?.detail).not.toContain('zen.spamhaus.org')
  })

  test('behind a resolver that answers everything say nothing of us', async () => {
    dns.zone = {
      '*.org': { A: ['203.0.113.1'] },
      '*.net': { A: ['203.0.113.1'] },
      '*.com': { A: ['203.0.113.1'] },
    }
    const checks = await look()
    expect(checks.slice(0, 3).map(({ status }) => status)).toEqual(['skipped', 'skipped', 'skipped'])
    expect(
      checks.slice(3).every(({ status, detail }) => status === 'warning' && detail.includes('203.0.113.1')),
    ).toBe(true)
  })

  test('whose test entry is missing, or that do not answer, are skipped', async () => {
    dns.remove('2.0.0.127.bl.spamcop.net')
    dns.behaviour = { '2.0.0.127.psbl.surriel.com': 'servfail' }
    expect((await notOk()).map(({ subject, status }) => `${subject} ${status}`)).toEqual([
      'bl.spamcop.net skipped',
      'psbl.surriel.com skipped',
    ])
  })
})

test('what is asked for: IPv4 first, each address and registered domain once', () => {
  const found = subjectsOf(
    ['2001:db8::1', '192.0.2.1', '192.0.2.1'],
    ['a.acme.test', 'b.acme.test', 'vm'],
    (name) => (name === 'vm' ? null : 'acme.test'),
  )
  expect(found).toEqual({ addresses: ['192.0.2.1', '2001:db8::1'], domains: ['acme.test'] })
})
