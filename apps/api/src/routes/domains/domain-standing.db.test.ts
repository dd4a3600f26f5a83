/**
 * How a domain is held and lost: the grace of one whose proof is gone, its recovery, and how another tenant gets it. Looks are asked
 * for by POST /domains/:id/verify, and made by the clock.
 */
import { createResolver } from '@valija/courier'
import { createDomainWatch, noHosts } from '@valija/flows'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator } from '../keys/refusals.test-support.ts'

interface Shown {
  id: string
  name: string
  status: string
  failing_since: string | null
  sending_stops_at: string | null
  records: { purpose: string; name: string; value: string }[]
}

let dns: DnsServer
let api: TestApi
const [mine, theirs] = [{} as { key: string; id: string }, {} as { key: string; id: string }]
const noCache = { entries: 0, bytes: 0 }
beforeAll(async () => {
  dns = await startDnsServer()
  const resolver = createResolver({
    servers: [dns.address],
    cache: noCache,
    patienceMs: 100,
    timeoutMs: 1_000,
  })
  api = await openTestApi({ isAllInOne: false }, { resolver })
  Object.assign(mine, api.tenant)
  Object.assign(theirs, api.stranger)
})
beforeEach(() => {
  dns.behaviour = {}
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

type Who = { key: string }
const add = async (name: string, who: Who = mine): Promise<Shown> =>
  (await api.ask('POST', '/domains', { key: who.key, body: { name } })).json()
const verify = ({ id }: Shown, who: Who = mine) => api.ask('POST', `/domains/${id}/verify`, { key: who.key })
const show = async ({ id }: Shown, who: Who = mine): Promise<Shown> =>
  (await api.ask('GET', `/domains/${id}`, { key: who.key })).json()
const proofOf = ({ records }: Shown) => records[0]!
const prove = (...domains: Shown[]) =>
  dns.set(
    proofOf(domains[0]!).name,
    'TXT',
    domains.map((domain) => proofOf(domain).value),
  )
const verified = async (name: string, who: Who = mine) => {
  const domain = await add(name, who)
  prove(domain)
  expect((await verify(domain, who)).json().status).toBe('verified')
  return domain
}
const lose = (domain: Shown) => dns.remove(proofOf(domain).name)
/** As if so many hours had passed since the proof was found to be gone. */
const passHours = (domain: Shown, hours: number) =>
  api.foundation.database.engine.query(
    `UPDATE valija.domains SET failing_since = failing_since - $2 * interval '1 hour' WHERE name = $1`,
    [domain.name, hours],
  )
const eventsOf = async (domain: Shown, who: Who = mine) => {
  const { data } = await api.events('?limit=100&type=domain.verified,domain.failed', who.key)
  return data
    .filter((event) => event.data.domain_id === domain.id)
    .map((event) => ({ ...event.data, type: event.type }))
}
const maySend = async (domain: Shown, who: Who = mine) => {
  const body = { from: `a@${domain.name}`, to: 'b@example.test', subject: 's', text: 't' }
  return (await api.ask('POST', '/send', { key: who.key, body })).statusCode
}

describe('a proof that is gone', () => {
  test('72 hours of grace, in which mail goes on and the owner is told; then sending stops', async () => {
    const domain = await verified('grace.test')
    lose(domain)
    const failing: Shown = (await verify(domain)).json()
    expect(failing.status).toBe('verified')
    const graceHours =
      (Date.parse(failing.sending_stops_at!) - Date.parse(failing.failing_since!)) / 3_600_000
    expect(graceHours).toBe(72)
    expect(await maySend(domain)).toBe(202)
    await passHours(domain, 71)
    expect((await verify(domain)).json().status).toBe('verified')
    await passHours(domain, 2)
    expect((await verify(domain)).json()).toMatchObject({ status: 'failed', sending_stops_at: null })
    await expect.poll(() => maySend(domain), { timeout: 5_000 }).toBe(403)
    expect(await eventsOf(domain)).toMatchObject([
      { type: 'domain.verified' },
      { type: 'domain.failed', sending_stopped: false, sending_stops_at: failing.sending_stops_at },
      { type: 'domain.failed', sending_stopped: true },
    ])
  })

  test('back within the grace: all is as before; back after it: verified anew', async () => {
    const domain = await verified('back.test')
    lose(domain)
    await verify(domain)
    prove(domain)
    expect((await verify(domain)).json()).toMatchObject({ status: 'verified', failing_since: null })
    lose(domain)
    await verify(domain)
    await passHours(domain, 73)
    expect((await verify(domain)).json().status).toBe('failed')
    prove(domain)
    expect((await verify(domain)).json()).toMatchObject({ status: 'verified', failing_since: null })
    const types = (await eventsOf(domain)).map(({ type }) => type.slice('domain.'.length))
    expect(types).toEqual(['verified', 'failed', 'verified', 'failed', 'failed', 'verified'])
  })

  test('a DNS that does not answer stops nobody, however long', async () => {
    const domain = await verified('outage.test')
    lose(domain)
    await verify(domain)
    await passHours(domain, 100)
    dns.behaviour = { '*': 'servfail' }
    expect((await verify(domain)).json().status).toBe('verified')
  })

  test('the loss of a key’s record is told too, once', async () => {
    const domain = await add('key-lost.test')
    for (const { name, value } of domain.records) dns.set(name, 'TXT', [value])
    await verify(domain)
    const [, rsa] = domain.records
    dns.remove(rsa!.name)
    await verify(domain)
    await verify(domain)
    expect(await eventsOf(domain)).toMatchObject([
      { type: 'domain.verified' },
      { type: 'domain.failed', lost: [rsa!.name] },
    ])
    expect((await show(domain)).failing_since).toBeNull()
  })
})

describe('a domain that another tenant holds', () => {
  test('cannot be taken while the holder’s proof is there, not even for a moment without it', async () => {
    const held = await verified('held.test', theirs)
    const wanted = await add('held.test')
    prove(held, wanted)
    expect((await verify(wanted)).json()).toMatchObject({ status: 409, code: 'conflict' })
    expect((await show(held, theirs)).failing_since).toBeNull()
    // Also where it was gone for long, and nobody has seen yet that it is back.
    prove(wanted)
    await verify(wanted)
    await passHours(held, 73)
    prove(held, wanted)
    expect((await verify(wanted)).statusCode).toBe(409)
    expect((await verify(held, theirs)).json().failing_since).toBeNull()
    prove(wanted)
    expect((await verify(wanted)).statusCode).toBe(409)
    expect((await show(held, theirs)).status).toBe('verified')
    expect((await show(wanted)).status).toBe('pending')
    expect(await maySend(held, theirs)).toBe(202)
  })

  test('is told to fail by the claim itself, and moves by a fresh proof once its own has been gone for 72 hours', async () => {
    const held = await verified('moves.test', theirs)
    const wanted = await add('moves.test')
    prove(wanted)
    await verify(wanted)
    expect((await show(held, theirs)).failing_since).not.toBeNull()
    await passHours(held, 71)
    expect((await verify(wanted)).statusCode).toBe(409)
    await passHours(held, 2)
    expect((await verify(wanted)).json().status).toBe('verified')
    expect((await show(held, theirs)).status).toBe('failed')
    expect(await eventsOf(held, theirs)).toMatchObject([
      { type: 'domain.verified' },
      { type: 'domain.failed', sending_stopped: false },
      { type: 'domain.failed', sending_stopped: true, claimed_by_another: true },
    ])
    await expect.poll(() => maySend(held, theirs), { timeout: 5_000 }).toBe(403)
    expect(await maySend(wanted)).toBe(202)

    // Reclaimed in the same way, and no sooner.
    prove(held)
    expect((await verify(held, theirs)).statusCode).toBe(409)
    await passHours(wanted, 73)
    expect((await verify(held, theirs)).json().status).toBe('verified')
    expect((await show(wanted)).status).toBe('failed')
  })

  test('goes to one of two that claim it at once', async () => {
    const held = await verified('race3.test', theirs)
    const third = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'third' } })).json()
    const [a, b] = [await add('race3.test'), await add('race3.test', third)]
    prove(a, b)
    await verify(a)
    await passHours(held, 73)
    const answers = await Promise.all([verify(a), verify(b, third)])
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 409])
    const standing = [await show(held, theirs), await show(a), await show(b, third)].map(
      ({ status }) => status,
    )
    expect(standing.filter((status) => status === 'verified')).toHaveLength(1)
    expect(standing[0]).toBe('failed')
  })

  test('is never taken from one that the operator vouches for', async () => {
    const body = { name: 'vouched-for.test', vouched: true }
    await api.ask('POST', '/domains', { ...asOperator(theirs.id), body })
    const wanted = await add('vouched-for.test')
    prove(wanted)
    expect((await verify(wanted)).statusCode).toBe(409)
  })

  test('the token of a deleted tenant proves nothing for another, nor for one of the same name', async () => {
    const tenant = (name: string) => api.ask('POST', '/tenants', { key: adminKey, body: { name } })
    const gone = (await tenant('gone')).json()
    const old = await verified('gone-tenant.test', gone)
    expect((await api.ask('DELETE', `/tenants/${gone.id}`, { key: adminKey })).statusCode).toBe(204)
    const heir = (await tenant('gone')).json()
    const [theirOwn, other] = [await add('gone-tenant.test', heir), await add('gone-tenant.test')]
    expect(new Set([old, theirOwn, other].map((domain) => proofOf(domain).value)).size).toBe(3)
    expect((await verify(theirOwn, heir)).json().status).toBe('pending')
    expect((await verify(other)).json().status).toBe('pending')
  })
})

describe('by the clock', () => {
  const watchOnce = async (meanwhile: () => Promise<unknown>, timeoutMs = 12_000) => {
    const errors: Error[] = []
    const resolver = createResolver({ servers: [dns.address], cache: noCache, timeoutMs })
    const watch = createDomainWatch({
      ...api.foundation,
      domainHosts: noHosts,
      resolver,
      sendingHosts: async () => [],
      onError: (error) => errors.push(error),
    })
    watch.start()
    await meanwhile()
    await watch.stop()
    resolver.close()
    expect(errors).toEqual([])
  }
  const due = (...domains: Shown[]) =>
    api.foundation.database.engine.query(
      `UPDATE valija.domains SET next_check_at = now() - interval '1 s' WHERE name = ANY ($1)`,
      [domains.map(({ name }) => name)],
    )
  const nextInHours = async ({ name }: Shown) => {
    const { rows } = await api.foundation.database.engine.query(
      'SELECT extract(epoch FROM next_check_at - now())::float8 / 3600 AS hours FROM valija.domains WHERE name = $1',
      [name],
    )
    return rows[0].hours as number
  }

  test('a due domain is looked at, verified or found failing, and due again when its state says so', async () => {
    const [waits, loses, stays] = [
      await add('waits.test'),
      await verified('loses.test'),
      await verified('stays.test'),
    ]
    prove(waits)
    lose(loses)
    await due(waits, loses)
    await watchOnce(async () => {
      await expect.poll(async () => (await show(waits)).status, { timeout: 10_000 }).toBe('verified')
      await expect.poll(async () => (await show(loses)).failing_since, { timeout: 10_000 }).not.toBeNull()
    })
    expect(await nextInHours(waits)).toBeGreaterThan(22)
    expect(await nextInHours(loses)).toBeCloseTo(1, 0)
    expect(await nextInHours(stays)).toBeLessThan(25.3)
  })

  test('two workers look at a domain once', async () => {
    const domain = await verified('once.test')
    await due(domain)
    const before = dns.count(proofOf(domain).name, 'TXT')
    const looked = () => expect.poll(() => dns.count(proofOf(domain).name, 'TXT')).toBeGreaterThan(before)
    await Promise.all([watchOnce(looked), watchOnce(looked)])
    expect(dns.count(proofOf(domain).name, 'TXT')).toBe(before + 1)
  })

  test('a tenant whose names nobody answers for has two looks under way, and others have theirs meanwhile', async () => {
    const stuck = await Promise.all(Array.from({ length: 9 }, (_, i) => add(`stuck${i}.test`)))
    await due(...stuck)
    const other = await add('other-tenant.test', theirs)
    await due(other)
    const isAsked = (domain: Shown) => dns.count(proofOf(domain).name, 'TXT') > 0
    dns.behaviour = { '*': 'silent' }
    await watchOnce(async () => {
      await expect.poll(() => isAsked(other)).toBe(true)
      expect(stuck.filter(isAsked).length).toBeLessThanOrEqual(2)
      dns.behaviour = {}
      await expect.poll(() => stuck.every(isAsked)).toBe(true)
    }, 2_000)
  })
})
