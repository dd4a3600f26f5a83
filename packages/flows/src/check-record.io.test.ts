/** What is wrong with a domain's records, by a real DNS server whose zones are wrong in the ways that people's zones are. */
import { readFile } from 'node:fs/promises'
import { createResolver, type Resolver } from '@valija/courier'
import { recordFaults } from '@valija/mail'
import type { StoredDomain } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer, type Zone } from '../../../tests/support/dns-server.ts'
import { checkRecord } from './check-record.ts'
import { type DomainHosts, noHosts, type SendingHost } from './domain-hosts.ts'
import { type WantedRecord, wantedRecords } from './domain-records.ts'

let dns: DnsServer
let resolver: Resolver
beforeAll(async () => {
  dns = await startDnsServer()
  const none = { entries: 0, bytes: 0 }
  resolver = createResolver({ servers: [dns.address], cache: none, namesServers: true, timeoutMs: 3_000 })
})
afterAll(async () => {
  resolver?.close()
  await dns?.stop()
})

const key = `MIIB${'x'.repeat(388)}`
const domain: StoredDomain = {
  id: '01980000-0000-7000-8000-000000000001',
  tenantId: '01980000-0000-7000-8000-000000000002',
  name: 'acme.test',
  status: 'pending',
  isVouched: false,
  signsDkim: false,
  dkimAlgorithms: ['rsa'],
  token: 'f'.repeat(32),
  returnPathLabel: 'bounce',
  verifiedAt: null,
  failingSince: null,
  createdAt: new Date(),
  dkimKeys: [
    { selector: 's1', algorithm: 'rsa', publicKey: key, state: 'active', isOwn: false, retiresAt: null },
  ],
  checks: [],
}
const hosts: DomainHosts = {
  ...noHosts,
  bounceDomain: 'bounces.ours.test',
  trackingHost: 'click.ours.test',
  reportAddress: () => 'reports@ours.test',
}
const dkim = `v=DKIM1; k=rsa; p=${key}`
const proof = `valija-verification=${domain.token}`
const ours: Zone = {
  'bounces.ours.test': { MX: ['10 mx.ours.test'], TXT: ['v=spf1 ip4:198.51.100.7 -all'] },
  'click.ours.test': { A: ['198.51.100.8'] },
}

const look = (
  purpose: WantedRecord['purpose'],
  zone: Zone,
  senders: readonly SendingHost[] = [],
  of = domain,
) => {
  dns.zone = { ...ours, ...zone }
  const record = wantedRecords(of, hosts).find((wanted) => wanted.purpose === purpose)
  if (record === undefined) throw new Error(`no record for ${purpose}`)
  return checkRecord({ resolver, domain: of.name, senders }, record)
}

const manyLookUps = Object.fromEntries(
  Array.from({ length: 11 }, (_, i) => [`i${i}.acme.test`, { TXT: ['v=spf1 ip4:203.0.113.1 ?all'] }]),
)
const name = 's1._domainkey.acme.test'

describe('right', () => {
  const right: [string, WantedRecord['purpose'], Zone][] = [
    ['the proof, beside others’', 'ownership', { '_valija.acme.test': { TXT: ['hello', proof] } }],
    ['a key in several strings', 'dkim', { [name]: { TXT: [dkim] } }],
    ['a key behind an alias', 'dkim', { [name]: { CNAME: ['k.ours.test'] }, 'k.ours.test': { TXT: [dkim] } }],
    ['the alias of the return path', 'return_path', { 'bounce.acme.test': { CNAME: ['bounces.ours.test'] } }],
    ['the alias of tracked links', 'tracking', { 'track.acme.test': { CNAME: ['click.ours.test'] } }],
    [
      'one SPF record among others',
      'spf',
      { 'acme.test': { TXT: ['x', 'v=spf1 include:bounces.ours.test ~all'] } },
    ],
    [
      'any policy',
      'dmarc',
      { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=reject; rua=mailto:a@acme.test,mailto:b@x.test'] } },
    ],
  ]
  test.each(right)('%s', async (_, purpose, zone) => {
    expect(await look(purpose, zone)).toMatchObject({ status: 'ok', fault: null, by: 'the resolver' })
  })

  test('a subdomain has the DMARC record of the domain above it', async () => {
    const below = { ...domain, name: 'mail.eu.acme.test' }
    const found = await look('dmarc', { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=none'] } }, [], below)
    expect(found).toMatchObject({ status: 'ok', found: ['v=DMARC1; p=none'] })
    expect(found.fault?.text).toContain('acme.test holds for it too')
  })

  test('that our own SPF record lacks the address that mail leaves from is told, and is not the tenant’s fault', async () => {
    const zone: Zone = { 'bounce.acme.test': { CNAME: ['bounces.ours.test'] } }
    const senders = (ip: string) => [{ ip, ehloName: 'mx.ours.test' }]
    expect(await look('return_path', zone, senders('198.51.100.7'))).toMatchObject({
      status: 'ok',
      fault: null,
    })
    const lacking = await look('return_path', zone, senders('198.51.100.9'))
    expect(lacking).toMatchObject({ status: 'ok', fault: { code: 'spf_lacks_sender' } })
    expect(lacking.fault?.text).toContain('does not allow 198.51.100.9')
  })
})

/** Fault, record, zone, and a piece of the sentence. */
const wrong: [string, WantedRecord['purpose'], Zone, string][] = [
  ['missing', 'ownership', {}, 'no TXT record'],
  ['missing', 'dmarc', { '_dmarc.acme.test': { TXT: ['something'] } }, 'no DMARC record'],
  ['missing', 'spf', { 'acme.test': { TXT: ['something', 'v=spf10 -all'] } }, 'no SPF record'],
  ['doubled_name', 'ownership', { '_valija.acme.test.acme.test': { TXT: [proof] } }, 'Enter only "_valija"'],
  ['doubled_name', 'dkim', { [`${name}.acme.test`]: { TXT: [`"${dkim}"`] } }, 'Enter only "s1._domainkey"'],
  [
    'doubled_name',
    'return_path',
    { 'bounce.acme.test.acme.test': { CNAME: ['bounces.ours.test'] } },
    'appends',
  ],
  ['wrong_name', 'dkim', { 's1.domainkey.acme.test': { TXT: [dkim] } }, 'without the underscore'],
  ['wildcard', 'dkim', { '*.acme.test': { TXT: ['v=spf1 -all'] } }, '*._domainkey.acme.test'],
  ['wildcard', 'return_path', { '*.acme.test': { CNAME: ['www.acme.test'] } }, '(*.acme.test)'],
  [
    'alias_beside_records',
    'return_path',
    { 'bounce.acme.test': { CNAME: ['bounces.ours.test'], MX: ['5 mx.acme.test'] } },
    'MX records of its own',
  ],
  [
    'alias_beside_records',
    'return_path',
    { 'bounce.acme.test': { CNAME: ['bounces.ours.test'], TXT: ['v=spf1 -all'] } },
    'TXT records of its own',
  ],
  ['dangling_alias', 'dkim', { [name]: { CNAME: ['gone.ours.test'] } }, 'alias (CNAME) of gone.ours.test'],
  ['not_an_alias', 'return_path', { 'bounce.acme.test': { A: ['203.0.113.9'] } }, 'proxy'],
  ['wrong_target', 'return_path', { 'bounce.acme.test': { CNAME: ['other.test'] } }, 'other.test'],
  [
    'doubled_target',
    'return_path',
    { 'bounce.acme.test': { CNAME: ['bounces.ours.test.acme.test'] } },
    'final dot',
  ],
  ['several_records', 'dkim', { [name]: { TXT: [dkim, 'v=spf1 -all'] } }, '2 TXT records'],
  [
    'split_over_records',
    'dkim',
    { [name]: { TXT: [dkim.slice(0, 255), dkim.slice(255)] } },
    'several strings',
  ],
  [
    'wrong_token',
    'ownership',
    { '_valija.acme.test': { TXT: [proof.replace('ffff', '0000')] } },
    'another token',
  ],
  ['malformed', 'ownership', { '_valija.acme.test': { TXT: ['hello'] } }, 'the one shown'],
  ['quoted', 'dkim', { [name]: { TXT: [`${dkim.slice(0, 200)}" "${dkim.slice(200)}`] } }, 'quotation marks'],
  ['escaped', 'dkim', { [name]: { TXT: [dkim.replaceAll(';', '\\;')] } }, 'backslashes'],
  ['cut_off', 'dkim', { [name]: { TXT: [dkim.slice(0, 255)] } }, 'cut off after'],
  ['overlong', 'dkim', { [name]: { TXT: [`${dkim}AAAA`] } }, 'behind the key'],
  ['wrong_key', 'dkim', { [name]: { TXT: [dkim.replaceAll('x', 'y')] } }, 'another key'],
  ['wrong_key_type', 'dkim', { [name]: { TXT: [dkim.replace('rsa', 'ed25519')] } }, 'k=ed25519'],
  ['revoked', 'dkim', { [name]: { TXT: ['v=DKIM1; k=rsa; p='] } }, 'revoked'],
  ['restricted', 'dkim', { [name]: { TXT: [`${dkim}; h=sha1`] } }, 'h='],
  [
    'several_spf',
    'spf',
    { 'acme.test': { TXT: ['v=spf1 -all', 'v=spf1 include:x.test ~all'] } },
    '2 SPF records',
  ],
  [
    'spf_too_many_lookups',
    'spf',
    {
      ...manyLookUps,
      'acme.test': {
        TXT: [
          `v=spf1 ${Object.keys(manyLookUps)
            .map((at) => `include:${at}`)
            .join(' ')} ~all`,
        ],
      },
    },
    'more than ten look-ups',
  ],
  [
    'spf_too_many_voids',
    'spf',
    { 'acme.test': { TXT: ['v=spf1 a:v1.acme.test a:v2.acme.test a:v3.acme.test ~all'] } },
    'not there',
  ],
  ['spf_malformed', 'spf', { 'acme.test': { TXT: ['v=spf1 ipv4:203.0.113.4 ~all'] } }, 'cannot be evaluated'],
  ['spf_malformed', 'spf', { 'acme.test': { TXT: ['spf1 include:x.test ~all'] } }, 'has to begin with'],
  ['quoted', 'spf', { 'acme.test': { TXT: ['"v=spf1 include:x.test ~all"'] } }, 'quotation marks'],
  ['spf_allows_all', 'spf', { 'acme.test': { TXT: ['v=spf1 mx +all'] } }, 'everybody'],
  [
    'several_dmarc',
    'dmarc',
    { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=none', 'v=DMARC1; p=reject'] } },
    '2 DMARC records',
  ],
  ['dmarc_malformed', 'dmarc', { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=nothing'] } }, 'has to be none'],
  ['dmarc_malformed', 'dmarc', { '_dmarc.acme.test': { TXT: ['v=DMARC1; rua=mailto:a@b.test'] } }, 'no p='],
  ['dmarc_malformed', 'dmarc', { '_dmarc.acme.test': { TXT: ['p=none; v=DMARC1'] } }, 'has to begin with'],
  ['dmarc_malformed', 'dmarc', { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=none; p=reject'] } }, 'twice'],
  [
    'dmarc_report_address',
    'dmarc',
    { '_dmarc.acme.test': { TXT: ['v=DMARC1; p=none; rua=a@b.test'] } },
    'mailto:',
  ],
]

describe('wrong, and which fault it is', () => {
  test.each(wrong)('%s: %s (%#)', async (code, purpose, zone, sentence) => {
    const found = await look(purpose, zone)
    expect(found.fault?.code).toBe(code)
    expect(found.fault?.text).toContain(sentence)
    const isAbsent = ['missing', 'doubled_name', 'wrong_name', 'wildcard'].includes(code)
    expect(found.status).toBe(isAbsent ? 'missing' : 'wrong')
  })

  test('no answer: nothing is known, and nothing is called wrong', async () => {
    dns.behaviour = { '*': 'servfail' }
    expect(await look('dkim', {})).toMatchObject({ status: 'unchecked', fault: { code: 'no_answer' } })
    // The record is there, and what it includes cannot be asked.
    dns.behaviour = { 'x.test': 'servfail' }
    const half = await look('spf', { 'acme.test': { TXT: ['v=spf1 include:x.test ~all'] } })
    expect(half).toMatchObject({ status: 'ok', fault: { code: 'no_answer' } })
    dns.behaviour = {}
  })

  test('every fault that there is a word for is met here, and documented', async () => {
    const met = new Set([...wrong.map(([code]) => code), 'no_answer', 'spf_lacks_sender'])
    expect(Object.keys(recordFaults).filter((code) => !met.has(code))).toEqual([])
    const page = await readFile(new URL('../../../docs/domains.md', import.meta.url), 'utf8')
    const lines = Object.entries(recordFaults).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`)
    expect(lines.filter((line) => !page.includes(line))).toEqual([])
  })
})
