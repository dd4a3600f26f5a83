/** POST /domains/:id/rotate-dkim. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { createResolver } from '@valija/courier'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

interface DkimRecord {
  purpose: string
  name: string
  value: string
  state: string
  status: string
  fix: string
}
interface Shown {
  id: string
  name: string
  records: DkimRecord[]
}

let dns: DnsServer
let api: TestApi
beforeAll(async () => {
  dns = await startDnsServer()
  const resolver = createResolver({
    servers: [dns.address],
    cache: { entries: 0, bytes: 0 },
    timeoutMs: 3_000,
  })
  api = await openTestApi({}, { resolver })
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

const add = async (name: string, more: object = {}): Promise<Shown> =>
  (await api.ask('POST', '/domains', { body: { name, ...more } })).json()
const rotate = ({ id }: Shown, body?: object) =>
  api.ask('POST', `/domains/${id}/rotate-dkim`, body && { body })
const verify = async ({ id }: Shown): Promise<Shown> =>
  (await api.ask('POST', `/domains/${id}/verify`)).json()
const keysOf = ({ records }: Shown, state = /./) =>
  records.filter((record) => record.purpose === 'dkim' && state.test(record.state))
const publish = (records: readonly { name: string; value: string }[]) => {
  for (const { name, value } of records) dns.set(name, 'TXT', [value])
}
/** A verified domain whose keys are seen. */
const ready = async (name: string, more: object = {}) => {
  const domain = await add(name, more)
  publish(domain.records)
  return verify(domain)
}
/** The selectors that a mail of the domain is signed by now; workers and APIs hear of changes a moment later. */
const signers = async ({ name }: Shown): Promise<string[]> => {
  const { id } = await api.send({ ...message, from: `a@${name}` })
  const raw = await api.ask('GET', `/messages/${id}/raw`)
  return [...raw.body.matchAll(/ s=([^;]+);/g)].map(([, selector = '']) => selector).sort()
}
const selectorsOf = (records: readonly DkimRecord[]) =>
  records.map(({ name }) => name.slice(0, name.indexOf('._domainkey'))).sort()
const untilSignedBy = (domain: Shown, records: readonly DkimRecord[]) =>
  expect.poll(() => signers(domain), { timeout: 5_000 }).toEqual(selectorsOf(records))

describe('200', () => {
  test('two phases: the present keys sign until the record of the new one is seen, each algorithm by itself', async () => {
    const domain = await ready('two-phases.test')
    const old = keysOf(domain)
    const begun: Shown = (await rotate(domain)).json()
    expect(
      keysOf(begun)
        .map(({ state }) => state)
        .sort(),
    ).toEqual(['active', 'active', 'next', 'next'])
    const fresh = keysOf(begun, /next/)
    expect(selectorsOf(fresh).filter((selector) => selectorsOf(old).includes(selector))).toEqual([])
    await verify(domain)
    await untilSignedBy(domain, old)

    const [rsa, ed25519] = fresh
    publish([rsa!])
    const half = await verify(domain)
    expect(
      keysOf(half, /active/)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([rsa!.name, old[1]!.name].sort())
    await untilSignedBy(domain, keysOf(half, /active/))

    publish([ed25519!])
    const whole = await verify(domain)
    expect(keysOf(whole, /active/).map(({ name }) => name)).toEqual([rsa!.name, ed25519!.name])
    await untilSignedBy(domain, fresh)
    const retiring = keysOf(whole, /retiring/)
    expect(retiring.map(({ name }) => name)).toEqual(old.map(({ name }) => name))
    expect(retiring.map(({ status }) => status)).toEqual(['ok', 'ok'])
  })

  test('the record of a retiring key is to stay for 7 days, and is shown no more after that', async () => {
    const domain = await ready('retires.test', { dkim_algorithms: ['ed25519'] })
    publish(keysOf((await rotate(domain)).json(), /next/))
    const [record] = keysOf(await verify(domain), /retiring/)
    const until = /^Nothing to do: .* Leave it until (\S+),/.exec(record!.fix)?.[1]
    const days = (Date.parse(until ?? '') - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(6.9)
    expect(days).toBeLessThan(7.1)
    await api.foundation.database.engine.query(
      `UPDATE valija.dkim_keys SET retires_at = now() - interval '1 second' WHERE state = 'retiring'`,
    )
    expect(keysOf(await verify(domain)).map(({ state }) => state)).toEqual(['active'])
  })

  test('while the new key’s record is lost, the one before it signs again', async () => {
    const domain = await ready('lost.test', { dkim_algorithms: ['rsa'] })
    const old = keysOf(domain)
    const fresh = keysOf((await rotate(domain)).json(), /next/)
    publish(fresh)
    await verify(domain)
    await untilSignedBy(domain, fresh)
    dns.remove(fresh[0]!.name)
    await verify(domain)
    await untilSignedBy(domain, old)
  })

  test('asked again, it shows the rotation under way', async () => {
    const domain = await ready('again.test')
    const [first, second] = [(await rotate(domain)).json(), (await rotate(domain, {})).json()]
    expect(second.records).toEqual(first.records)
    const both = await Promise.all([
      rotate(await ready('at-once.test')),
      rotate(await ready('at-once2.test')),
    ])
    expect(both.map((answer) => keysOf(answer.json(), /next/).length)).toEqual([2, 2])
  })

  test('own keys, in either form of PEM, sign by the selector that was given', async () => {
    const domain = await ready('own.test')
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const ed25519 = generateKeyPairSync('ed25519').privateKey
    const keys = [
      { private_key: String(rsa.export({ type: 'pkcs1', format: 'pem' })), selector: 'Mail2026' },
      { private_key: String(ed25519.export({ type: 'pkcs8', format: 'pem' })) },
    ]
    const answer = await rotate(domain, { keys })
    const fresh = keysOf(answer.json(), /next/)
    expect(fresh[0]!.name).toBe('mail2026._domainkey.own.test')
    const spki = createPublicKey(rsa).export({ type: 'spki', format: 'der' }).toString('base64')
    expect(fresh[0]!.value).toBe(`v=DKIM1; k=rsa; p=${spki}`)
    expect(answer.body).not.toContain('PRIVATE')
    publish(fresh)
    await verify(domain)
    await untilSignedBy(domain, fresh)
  })

  test('where no record was seen yet, the records shown before stay right, and what is published is what signs', async () => {
    const domain = await add('pending.test')
    const begun: Shown = (await rotate(domain)).json()
    expect(keysOf(begun, /active/)).toEqual(keysOf(domain))
    const fresh = keysOf(begun, /next/)
    expect(fresh).toHaveLength(2)
    publish(domain.records)
    await verify(domain)
    await untilSignedBy(domain, keysOf(domain))

    const hasty = await add('hasty.test', { dkim_algorithms: ['rsa'] })
    const [next] = keysOf((await rotate(hasty)).json(), /next/)
    publish([hasty.records.find(({ purpose }) => purpose === 'ownership')!, next!])
    expect(keysOf(await verify(hasty)).map(({ name, state }) => [name, state])).toEqual([
      [next!.name, 'active'],
    ])
    await untilSignedBy(hasty, [next!])
  })

  test('where no mail was ever signed, own keys take the place of ours at once', async () => {
    const domain = await add('fresh.test', { dkim_algorithms: ['ed25519'] })
    const { privateKey } = generateKeyPairSync('ed25519')
    const keys = [
      { private_key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), selector: 'mine' },
    ]
    const shown = keysOf((await rotate(domain, { keys })).json())
    expect(shown).toMatchObject([{ name: 'mine._domainkey.fresh.test', state: 'active' }])
  })
})

describe('400', () => {
  const pem = (bits: number) =>
    String(
      generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    )
  const ec = () =>
    String(
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    )
  const locked = () =>
    String(
      generateKeyPairSync('ed25519').privateKey.export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'x',
      }),
    )
  test.each([
    ['no PEM', () => ({ private_key: 'hello' }), 'private_key', 'no private key in PEM'],
    ['a short key', () => ({ private_key: pem(512) }), 'private_key', '512 bits'],
    ['a key of another kind', () => ({ private_key: ec() }), 'private_key', 'key of ec'],
    ['an encrypted key', () => ({ private_key: locked() }), 'private_key', 'encrypted'],
    [
      'a selector that is no name',
      () => ({ private_key: pem(1024), selector: 'a_b' }),
      'selector',
      'letters',
    ],
  ])('for %s', async (_, key, field, text) => {
    const domain = await add(`bad${Math.random().toString(36).slice(2)}.test`)
    const answer = await rotate(domain, { keys: [key()] })
    expect(answer.statusCode).toBe(400)
    expect(answer.json().errors).toMatchObject([
      { path: `/keys/0/${field}`, message: expect.stringContaining(text) },
    ])
  })

  test('for a second key of an algorithm, and for a selector that is in use', async () => {
    const domain = await ready('doubled.test')
    const [taken] = selectorsOf(keysOf(domain))
    const keys = [{ private_key: pem(1024), selector: taken }, { private_key: pem(1024) }]
    const { errors } = (await rotate(domain, { keys })).json()
    expect(errors.map(({ path }: { path: string }) => path)).toEqual([
      '/keys/0/selector',
      '/keys/1/private_key',
    ])
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/domains/dom_x/rotate-dkim', 'manage'))

test('404 hides other tenants’ domains', async () => {
  const body = { name: 'foreign.test' }
  const foreign = (await api.ask('POST', '/domains', { key: api.stranger.key, body })).json()
  await expectHidden(api, 'POST', (id) => `/domains/${id}/rotate-dkim`, foreign.id)
})

test('409 for own keys while others wait for their records', async () => {
  const domain = await ready('waits.test')
  await rotate(domain)
  const { privateKey } = generateKeyPairSync('ed25519')
  const keys = [{ private_key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) }]
  expect((await rotate(domain, { keys })).json()).toMatchObject({ status: 409, code: 'conflict' })
})
