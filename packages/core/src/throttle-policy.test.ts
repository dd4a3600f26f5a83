import { readFileSync } from 'node:fs'
import { parseSmtpReply } from '@valija/mail'
import { describe, expect, test } from 'vitest'
import { readShippedFile } from './data-file.ts'
import { readYaml } from './read-yaml.ts'
import { compileTextPattern } from './text-pattern.ts'
import { findProvider, limitsFor, matchingRule, providerOf, type ThrottlePolicy } from './throttle-policy.ts'
import { readThrottlePolicy, ThrottlePolicyError } from './throttle-policy-file.ts'

const shippedText = readFileSync(new URL('./rules/shaping.yaml', import.meta.url), 'utf8')
const shipped = readThrottlePolicy([readShippedFile('shaping')])
const own = (text: string): ThrottlePolicy =>
  readThrottlePolicy([readShippedFile('shaping'), readYaml('shaping.yaml', text)])
const faultsOf = (text: string): readonly string[] => {
  try {
    own(text)
  } catch (error) {
    if (error instanceof ThrottlePolicyError) return error.faults
    throw error
  }
  return []
}
const of = (provider: string | null) => ({ provider, kind: 'mx' as const })
const refusal = (text: string) => ({ reply: parseSmtpReply(text), reason: null })

describe('who receives', () => {
  test.each([
    ['gmail.com', ['gmail-smtp-in.l.google.com', 'alt1.gmail-smtp-in.l.google.com'], 'google'],
    ['acme.test', ['aspmx.l.google.com.'], 'google'],
    ['acme.test', ['ASPMX2.GOOGLEMAIL.COM'], 'google'],
    ['outlook.com', ['outlook-com.olc.protection.outlook.com'], 'microsoft-consumer'],
    ['acme.test', ['acme-test.mail.protection.outlook.com'], 'microsoft-365'],
    ['acme.test', ['acme-test.a-v1.mx.microsoft'], 'microsoft-365-dnssec'],
    ['aol.com', ['mx-aol.mail.gm0.yahoodns.net'], 'yahoo'],
    ['icloud.com', ['mx01.mail.icloud.com'], 'apple'],
    ['comcast.net', ['mx1h1.comcast.net'], 'comcast'],
    ['acme.test', ['mx0a-00123401.pphosted.com'], 'proofpoint'],
    ['acme.test', ['eu-smtp-inbound-1.mimecast.com'], 'mimecast'],
    ['acme.test', ['d123.a.ess.de.barracudanetworks.com'], 'barracuda'],
    ['orange.fr', ['smtp-in.orange.fr'], 'orange'],
    ['web.de', ['mx-ha02.web.de'], 'gmx'],
    ['mail.com', ['mx00.mail.com'], 'mail-com'],
    ['qq.com', ['mx3.qq.com'], 'qq'],
    ['163.com', ['163mx01.mxmail.netease.com'], 'netease'],
    ['yahoo.co.jp', ['mx1.mail.yahoo.co.jp'], 'yahoo-japan'],
    ['kpnmail.nl', ['mx.kpnmail.nl'], 'kpn'],
    ['netvigator.com', ['mx.netvigator.com'], 'netvigator'],
    ['mail.ru', ['mxs.mail.ru'], 'mail-ru'],
    ['yandex.ru', ['mx.yandex.ru'], 'yandex'],
    ['acme.test', ['mx.zoho.eu'], 'zoho'],
    ['t-online.de', ['mx00.t-online.de'], 't-online'],
    ['acme.test', ['mx1.hc1234-56.eu.iphmx.com'], 'cisco'],
    ['acme.test', ['acme.in.tmes.trendmicro.eu'], 'trend-micro'],
    ['acme.test', ['mx.acme.test'], null],
    ['notgoogle.test', ['mx.notgoogle.com'], null],
    ['acme.test', [], null],
    // We connect to the best one; a spare elsewhere is not who receives.
    ['acme.test', ['mx.acme.test', 'aspmx.l.google.com'], null],
  ])('for %s with %j is %s', (domain, exchangers, provider) => {
    expect(providerOf(shipped, { domain, exchangers })?.name ?? null).toBe(provider)
  })
})

describe('the shipped file', () => {
  test('says what the limits of DESIGN 4.15 are for those that it does not know', () => {
    expect(limitsFor(shipped, of(null))).toEqual({
      connections: 10,
      mailsPerConnection: 100,
      mailsPerSecond: null,
      isTlsRequired: false,
    })
    expect(limitsFor(shipped, { provider: null, kind: 'relay' })).toMatchObject({
      connections: 20,
      mailsPerSecond: null,
    })
  })

  test('gives what is known of providers', () => {
    expect(limitsFor(shipped, of('google'))).toMatchObject({
      connections: 5,
      mailsPerConnection: 50,
      isTlsRequired: true,
    })
    expect(limitsFor(shipped, of('yahoo-japan'))).toMatchObject({ connections: 2, mailsPerSecond: 10 })
    expect(findProvider(shipped, 'mimecast')?.per).toBe('site')
    expect(findProvider(shipped, 'google')?.per).toBe('provider')
  })

  test('carries the notice of the data that it took', () => {
    expect(shippedText).toMatch(/Notice\.[\s\S]*Apache License/)
  })

  /** Each rule with the replies in the comments above it. */
  const taught = teachingLines()

  test('has a reply above every rule', () => {
    const rules = shippedText.split('\n').filter((line) => /^\s*- text:/.test(line)).length
    expect(new Set(taught.map(({ rule }) => rule)).size).toBe(rules)
  })

  test.each(taught.map(({ provider, reply, rule }) => [reply, provider, rule] as const))(
    'knows: %s',
    (reply, provider, line) => {
      const rule = matchingRule(shipped, of(provider), refusal(reply))
      expect(rule).not.toBeNull()
      const owner = provider === null ? shipped : findProvider(shipped, provider)
      expect(owner?.rules.indexOf(rule!), `the rule in line ${line}`).toBe(indexInOwner(provider, line))
    },
  )
})

describe('an operator’s file', () => {
  test('changes single fields of a provider and leaves the others', () => {
    const policy = own('providers: { google: { connections: 20, rate: 100/s } }')
    expect(limitsFor(policy, of('google'))).toEqual({
      connections: 20,
      mailsPerConnection: 50,
      mailsPerSecond: 100,
      isTlsRequired: true,
    })
    expect(findProvider(policy, 'google')?.match.mx).toContain('google.com')
    const ids = (from: ThrottlePolicy) => findProvider(from, 'google')?.rules.map(({ id }) => id)
    expect(ids(policy)).toEqual(ids(shipped))
  })

  test('adds providers, with the defaults of unknown sites', () => {
    const policy = own(
      'unknown: { connections: 4 }\nproviders: { partner: { mx: [partner.test], rate: 30/min } }',
    )
    expect(providerOf(policy, { domain: 'a.test', exchangers: ['mx.partner.test'] })?.name).toBe('partner')
    expect(limitsFor(policy, of('partner'))).toMatchObject({ connections: 4, mailsPerSecond: 0.5 })
    expect(limitsFor(policy, of(null)).connections).toBe(4)
  })

  test('has its rules tried before the shipped ones, or instead of them', () => {
    const rule = "{ text: 'Try again later, closing connection', suspend: 1h }"
    const first = own(`providers: { google: { rules: [${rule}] } }`)
    const found = matchingRule(first, of('google'), refusal('421 4.7.0 Try again later, closing connection.'))
    expect(found?.action).toEqual({ kind: 'suspend' })
    expect(findProvider(first, 'google')!.rules.length).toBeGreaterThan(1)
    const alone = own(`providers: { google: { shipped_rules: false, rules: [${rule}] } }`)
    expect(findProvider(alone, 'google')!.rules).toHaveLength(1)
  })

  test('removes a provider, and brings it back as its own', () => {
    expect(findProvider(own('providers: { google: { remove: true } }'), 'google')).toBeNull()
  })

  test('may be empty', () => {
    expect(own('').providers).toHaveLength(shipped.providers.length)
    expect(own('# nothing yet\n').providers).toHaveLength(shipped.providers.length)
  })

  test.each([
    ['what is no YAML', 'providers: [', /^shaping\.yaml:1 /],
    ['a list', '- a', /^shaping\.yaml:1 \(the file\): has fields/],
    [
      'an unknown field',
      'unknown:\n  conections: 3',
      /^shaping\.yaml:2 unknown\.conections: is unknown; known are connections/,
    ],
    [
      'no number',
      'providers:\n  a:\n    connections: many',
      /^shaping\.yaml:3 providers\.a\.connections: is a whole number/,
    ],
    ['no connection at all', 'unknown: { connections: 0 }', /unknown\.connections: is a whole number from 1/],
    ['a rate without a unit', 'unknown: { rate: 20 }', /unknown\.rate: is mails per second/],
    ['a wrong word', 'unknown: { tls: yes please }', /unknown\.tls: is one of required, opportunistic/],
    [
      'a suffix with a dot before it',
      'providers: { a: { mx: [.a.test] } }',
      /providers\.a\.mx: is a list of domain names/,
    ],
    [
      'a name in capitals',
      'providers: { A: { connections: 1 } }',
      /providers\.A: a name has lower-case letters/,
    ],
    ['a provider that is none', 'providers: { a: 5 }', /providers\.a: has fields: mx/],
    [
      'a rule without a condition',
      'rules:\n  - suspend: 1h',
      /^shaping\.yaml:2 rules\.0: needs text or reason/,
    ],
    [
      'a rule without an action',
      'rules:\n  - text: a',
      /^shaping\.yaml:2 rules\.0: needs exactly one of suspend/,
    ],
    ['two actions', 'rules: [{ text: a, suspend: 1h, connections: 1 }]', /needs exactly one of/],
    ['an action without an end', 'rules: [{ text: a, connections: 1 }]', /needs for/],
    ['a count without a time', 'rules: [{ text: a, count: 3, suspend: 1h }]', /needs within/],
    ['a pattern that matches all', "rules: [{ text: '*', suspend: 1h }]", /rules\.0\.text: is a text/],
    ['an unknown reason', 'rules: [{ reason: bad, suspend: 1h }]', /rules\.0\.reason: is one of these/],
    ['a time that is too long', 'rules: [{ text: a, suspend: 8d }]', /rules\.0\.suspend: is a time/],
    [
      'a tenant’s rule that slows all',
      'rules: [{ text: a, blame: tenant, connections: 1, for: 1h }]',
      /can only suspend/,
    ],
    ['a key that is there twice', 'unknown: {}\nunknown: {}', /^shaping\.yaml:2 /],
  ])('with %s is refused, with the place', (_, text, expected) => {
    expect(faultsOf(text)).toEqual(expect.arrayContaining([expect.stringMatching(expected)]))
  })

  test('is told all its faults at once', () => {
    expect(faultsOf('unknown: { connections: 0, tls: no }\nrules: [{ text: a }]')).toHaveLength(3)
  })
})

describe('rules', () => {
  test('of relays there are none', () => {
    const reply = refusal('421 4.7.0 Too many connections')
    expect(matchingRule(shipped, { provider: null, kind: 'relay' }, reply)).toBeNull()
    expect(matchingRule(shipped, of(null), reply)).not.toBeNull()
  })

  test('can go by reason, where the words do not matter', () => {
    const policy = own('rules: [{ reason: [reputation, policy], suspend: 1h }]')
    expect(matchingRule(policy, of(null), { reply: null, reason: 'policy' })).not.toBeNull()
    expect(matchingRule(policy, of(null), { reply: null, reason: 'network' })).toBeNull()
  })
})

describe('a pattern', () => {
  test.each([
    ['Messages from * deferred', 'messages FROM 192.0.2.1  temporarily\tdeferred', true],
    ['deferred * from', 'messages from x deferred', false],
    ['[TS04]', '421 4.7.0 [TS04] Messages', true],
    ['a.c', 'abc', false],
    ['*only*', 'the only one', true],
  ])('%j in %j: %s', (pattern, text, expected) => {
    expect(compileTextPattern(pattern)(text)).toBe(expected)
  })

  test('costs no more than the length of what it reads', () => {
    const before = process.threadCpuUsage()
    compileTextPattern('a*a*a*a*a*a*a*a*b')('a'.repeat(200_000))
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(1_000)
  })
})

interface Taught {
  provider: string | null
  reply: string
  /** The line of the rule. */
  rule: number
}

function teachingLines(): Taught[] {
  const lines = shippedText.split('\n')
  const found: Taught[] = []
  let provider: string | null = null
  let replies: string[] = []
  let isBelowProviders = false
  for (const [index, line] of lines.entries()) {
    if (line === 'providers:') isBelowProviders = true
    const name = /^ {2}([a-z0-9-]+):$/.exec(line)?.[1]
    if (isBelowProviders && name !== undefined) provider = name
    const reply = /^\s+# ([245]\d\d[ -].*)$/.exec(line)?.[1]
    if (reply !== undefined) replies.push(reply)
    if (!/^\s+- text:/.test(line)) continue
    for (const one of replies)
      found.push({ provider, reply: one.replace(/ (?=\d{3}[ -]\D)/g, ' '), rule: index + 1 })
    replies = []
  }
  return found
}

function indexInOwner(provider: string | null, line: number): number {
  const lines = [
    ...new Set(
      teachingLines()
        .filter((one) => one.provider === provider)
        .map(({ rule }) => rule),
    ),
  ]
  return lines.indexOf(line)
}
