/** GET /domains/:id/zone. */
import { createResolver } from '@valija/courier'
import { noHosts } from '@valija/flows'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let dns: DnsServer
let api: TestApi
beforeAll(async () => {
  dns = await startDnsServer()
  const resolver = createResolver({
    servers: [dns.address],
    cache: { entries: 0, bytes: 0 },
    timeoutMs: 3_000,
  })
  const domainHosts = { ...noHosts, bounceDomain: 'bounces.ours.test' }
  api = await openTestApi({}, { resolver, domainHosts })
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

interface Shown {
  id: string
  records: { purpose: string; type: string; name: string; value: string }[]
}
const add = async (name: string): Promise<Shown> =>
  (await api.ask('POST', '/domains', { body: { name } })).json()
const zoneOf = ({ id }: Shown) => api.ask('GET', `/domains/${id}/zone`)

/** What a name server would make of the file: full name, type and text of each record. */
function readZone(text: string): { name: string; type: string; value: string; strings: string[] }[] {
  const origin = /^\$ORIGIN (\S+)\.$/m.exec(text)?.[1] ?? ''
  const lines = text.split('\n').filter((line) => / IN /.test(line))
  return lines.map((line) => {
    const [, owner = '', type = '', data = ''] = /^(\S+) IN (\S+) (.*)$/.exec(line) ?? []
    const strings = [...data.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, string = '']) => string)
    const value = type === 'TXT' ? strings.join('') : data.replace(/\.$/, '')
    return { name: owner === '@' ? origin : `${owner}.${origin}`, type, value, strings }
  })
}

describe('200', () => {
  test('every record, names relative to the registered domain, no string over 255 octets', async () => {
    const domain = await add('mail.zone.test')
    const answer = await zoneOf(domain)
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(answer.body).toMatch(/^\$ORIGIN zone\.test\.\n\$TTL 3600\n/)
    const read = readZone(answer.body)
    const wanted = domain.records.map(({ name, type, value }) => ({ name, type, value }))
    expect(read.map(({ name, type, value }) => ({ name, type, value }))).toEqual(wanted)
    const lengths = read.flatMap(({ strings }) => strings.map(({ length }) => length))
    expect(Math.max(...lengths)).toBe(255)
    expect(read.map(({ type }) => type)).toContain('CNAME')
    expect(answer.body).toContain('bounce.mail IN CNAME bounces.ours.test.\n')
  })

  test('published as it is, all records are right', async () => {
    const domain = await add('published.test')
    for (const { name, type, value } of readZone((await zoneOf(domain)).body)) {
      dns.set(name, type as 'TXT', [value])
    }
    dns.set('bounces.ours.test', 'MX', ['10 mx.ours.test'])
    dns.set('bounces.ours.test', 'TXT', ['v=spf1 ip4:192.0.2.9 -all'])
    const shown = (await api.ask('POST', `/domains/${domain.id}/verify`)).json()
    expect(
      shown.records.map(({ status, fault }: { status: string; fault: unknown }) => [status, fault]),
    ).toEqual(domain.records.map(() => ['ok', null]))
  })

  test('an SPF or DMARC record that the domain has is not put beside another', async () => {
    const domain = await add('has.test')
    dns.set('has.test', 'TXT', ['v=spf1 mx -all'])
    dns.set('_dmarc.has.test', 'TXT', ['v=DMARC1; p=reject'])
    await api.ask('POST', `/domains/${domain.id}/verify`)
    const values = readZone((await zoneOf(domain)).body).map(({ value }) => value)
    expect(values).toHaveLength(4)
    expect(values.filter((value) => /spf1|DMARC1/.test(value))).toEqual([])
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/domains/dom_x/zone', 'read'))

test('404 hides other tenants’ domains', async () => {
  const foreign = (
    await api.ask('POST', '/domains', { key: api.stranger.key, body: { name: 'f.test' } })
  ).json()
  await expectHidden(api, 'GET', (id) => `/domains/${id}/zone`, foreign.id)
})
