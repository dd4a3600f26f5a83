/** POST /domains/:id/verify. */
import { createResolver } from '@valija/courier'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

interface Shown {
  id: string
  name: string
  status: string
  summary: string
  records: { purpose: string; name: string; value: string; status: string; found: string[]; fix: string }[]
}

let dns: DnsServer
let api: TestApi
beforeAll(async () => {
  dns = await startDnsServer({ negativeTtl: 3_600 })
  const resolver = createResolver({
    servers: [dns.address],
    cache: { entries: 0, bytes: 0 },
    patienceMs: 100,
    timeoutMs: 1_000,
  })
  api = await openTestApi({}, { resolver })
})
beforeEach(() => {
  dns.behaviour = {}
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

const add = async (name: string, key = api.tenant.key): Promise<Shown> =>
  (await api.ask('POST', '/domains', { key, body: { name } })).json()
const verify = ({ id }: Shown, key = api.tenant.key) => api.ask('POST', `/domains/${id}/verify`, { key })
const publish = ({ records }: Shown, purpose = /./) => {
  for (const { name, value } of records.filter((record) => purpose.test(record.purpose))) {
    dns.set(name, 'TXT', [value])
  }
}
const statuses = (shown: Shown) =>
  shown.records.filter(({ purpose }) => /ownership|dkim/.test(purpose)).map((record) => record.status)
const eventsOf = async (domain: Shown, key = api.tenant.key) => {
  const { data } = await api.events('?type=domain.verified&limit=100', key)
  return data.filter((event) => event.data.domain_id === domain.id)
}

describe('200', () => {
  test('nothing is there: pending, and every record says so and what to do', async () => {
    const domain = await add('nothing.test')
    const shown = (await verify(domain)).json()
    expect(shown.status).toBe('pending')
    expect(statuses(shown)).toEqual(['missing', 'missing', 'missing'])
    expect(shown.summary).toMatch(
      /^It is not verified yet; still to be published or mended: ownership, dkim vlj\w+r, dkim vlj\w+e, .*dmarc\.$/,
    )
    expect(shown.records[0].fix).toMatch(
      /^There is no TXT record at this name\. Publish a TXT record at _valija/,
    )
    expect(await eventsOf(domain)).toEqual([])
  })

  test('seen as soon as it is published: verified, told once by an event, and the tenant may send', async () => {
    const domain = await add('now.test', api.stranger.key)
    const { key } = api.stranger
    expect((await verify(domain, key)).json().status).toBe('pending')
    publish(domain)
    const shown = (await verify(domain, key)).json()
    expect(shown.status).toBe('verified')
    expect(shown.summary).toBe('It is verified, and its mail is signed; all its records are right.')
    expect(shown.records).toMatchObject(
      domain.records.map(({ value }) => ({
        status: 'ok',
        found: [value],
        fix: expect.stringContaining('Nothing'),
      })),
    )
    expect((await api.ask('GET', `/domains/${domain.id}`, { key })).json()).toEqual(shown)
    await verify(domain, key)
    expect(await eventsOf(domain, key)).toMatchObject([
      { type: 'domain.verified', data: { domain_id: domain.id, domain: 'now.test' } },
    ])
    const mail = { from: 'a@mail.now.test', to: 'b@example.test', subject: 's', text: 't' }
    const send = async () => (await api.ask('POST', '/send', { key, body: mail })).statusCode
    await expect.poll(send, { timeout: 1_500 }).toBe(202)
  })

  test('ownership alone verifies; what a selector lacks is said', async () => {
    const domain = await add('owner.test')
    publish(domain, /ownership/)
    const [, rsa, ed25519] = domain.records
    dns.set(rsa!.name, 'TXT', [rsa!.value.slice(0, 255)])
    dns.set(ed25519!.name, 'TXT', [ed25519!.value, 'v=spf1 -all'])
    const shown = (await verify(domain)).json()
    expect(shown.status).toBe('verified')
    expect(statuses(shown)).toEqual(['ok', 'wrong', 'wrong'])
    expect(shown.records[1].fix).toContain('cut off after')
    expect(shown.records[2]).toMatchObject({
      found: expect.arrayContaining(['v=spf1 -all']),
      fix: expect.stringContaining('2 TXT records'),
    })
  })

  test('selectors alone do not verify, nor does the token of another tenant or of the domain as it was before', async () => {
    const old = await add('token.test')
    await api.ask('DELETE', `/domains/${old.id}`)
    const domain = await add('token.test')
    const other = await add('token.test', api.stranger.key)
    publish(domain, /dkim/)
    dns.set('_valija.token.test', 'TXT', [old.records[0]!.value, other.records[0]!.value])
    const shown = (await verify(domain)).json()
    expect(shown.status).toBe('pending')
    expect(statuses(shown)).toEqual(['wrong', 'ok', 'ok'])
    expect(shown.records[0].fix).toContain('another token')
    dns.set('_valija.token.test', 'TXT', ['hello', ` ${domain.records[0]!.value}`, other.records[0]!.value])
    expect((await verify(domain)).json().status).toBe('verified')
  })

  test('a key behind an alias, in several strings, counts', async () => {
    const domain = await add('alias.test')
    publish(domain)
    const [, rsa] = domain.records
    dns.remove(rsa!.name)
    dns.set(rsa!.name, 'CNAME', ['key.elsewhere.test'])
    dns.set('key.elsewhere.test', 'TXT', [rsa!.value])
    expect(statuses((await verify(domain)).json())).toEqual(['ok', 'ok', 'ok'])
  })

  test('without an answer of the DNS what was known stays, and the reason is told', async () => {
    const domain = await add('silent.test')
    dns.behaviour = { '*': 'servfail' }
    const first = (await verify(domain)).json()
    expect(statuses(first)).toEqual(['unchecked', 'unchecked', 'unchecked'])
    expect(first.records[0].fix).toMatch(/^DNS gave no answer: .*Publish/)
    dns.behaviour = {}
    publish(domain)
    await verify(domain)
    dns.behaviour = { '*': 'servfail' }
    const shown = (await verify(domain)).json()
    expect(shown.status).toBe('verified')
    expect(statuses(shown)).toEqual(['ok', 'ok', 'ok'])
    expect(shown.records[1].fix).toMatch(/^DNS gave no answer: /)
  })

  test('a record that has gone is missing from then on', async () => {
    const domain = await add('gone.test')
    publish(domain)
    await verify(domain)
    dns.remove(domain.records[1]!.name)
    expect(statuses((await verify(domain)).json())).toEqual(['ok', 'missing', 'ok'])
  })

  test('what others have put there is kept in part only, whatever it holds', async () => {
    const domain = await add('full.test')
    const texts = Array.from({ length: 12 }, (_, i) => `${i}\0${'x'.repeat(1_500)}`)
    dns.set('_valija.full.test', 'TXT', texts)
    const [record] = (await verify(domain)).json().records
    expect(record.status).toBe('wrong')
    expect(record.found).toHaveLength(10)
    expect(record.found[0]).toHaveLength(1_000)
  })

  test('a vouched domain stays so, and its records are looked at too', async () => {
    const body = { name: 'vouched.test', vouched: true }
    const domain = (await api.ask('POST', '/domains', { ...asOperator(api.tenant.id), body })).json()
    publish(domain)
    const shown = (await verify(domain)).json()
    expect(shown).toMatchObject({ status: 'verified', vouched: true })
    expect(statuses(shown)).toEqual(['ok', 'ok', 'ok'])
    expect(await eventsOf(domain)).toEqual([])
  })

  test('a domain of an earlier version gets its keys', async () => {
    const domain = await add('earlier.test')
    await api.foundation.database.engine.query('DELETE FROM valija.dkim_keys WHERE selector = ANY ($1)', [
      domain.records.slice(1, 3).map((record) => record.name.split('.')[0]),
    ])
    const shown = (await verify(domain)).json()
    expect(statuses(shown)).toEqual(['missing', 'missing', 'missing'])
    expect(shown.records[1].name).not.toBe(domain.records[1]!.name)
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/domains/dom_x/verify', 'manage'))

test('404 hides other tenants’ domains', async () => {
  const foreign = await add('foreign.test', api.stranger.key)
  await expectHidden(api, 'POST', (id) => `/domains/${id}/verify`, foreign.id)
})

describe('409', () => {
  test('when another tenant has it verified: both right, one of them gets it, however close they come', async () => {
    const [mine, theirs] = [await add('race.test'), await add('race.test', api.stranger.key)]
    dns.set('_valija.race.test', 'TXT', [mine.records[0]!.value, theirs.records[0]!.value])
    const answers = await Promise.all([verify(mine), verify(theirs, api.stranger.key)])
    expect(answers.map((answer) => answer.statusCode).sort()).toEqual([200, 409])
    const shown = await Promise.all([
      api.ask('GET', `/domains/${mine.id}`),
      api.ask('GET', `/domains/${theirs.id}`, { key: api.stranger.key }),
    ])
    expect(shown.map((answer) => answer.json().status).sort()).toEqual(['pending', 'verified'])
    // What was seen is kept for the loser too.
    expect(shown.map((answer) => answer.json().records[0].status)).toEqual(['ok', 'ok'])
  })

  test('no longer when that tenant has removed it', async () => {
    const [mine, theirs] = [await add('moved.test'), await add('moved.test', api.stranger.key)]
    publish(theirs)
    expect((await verify(theirs, api.stranger.key)).json().status).toBe('verified')
    dns.set('_valija.moved.test', 'TXT', [mine.records[0]!.value])
    expect((await verify(mine)).json()).toMatchObject({ code: 'conflict' })
    await api.ask('DELETE', `/domains/${theirs.id}`, { key: api.stranger.key })
    expect((await verify(mine)).json().status).toBe('verified')
  })
})
