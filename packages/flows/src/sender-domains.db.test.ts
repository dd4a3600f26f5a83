/** From which domains a tenant may send, and how soon a change is known: against a real PostgreSQL. */
import { type Caller, createIdSource, noLimits, ProductError } from '@valija/core'
import {
  type Database,
  insertPendingDomain,
  insertVouchedDomain,
  openDatabase,
  openWake,
  type Wake,
} from '@valija/store'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { createSenderDomains, isPublicSuffix, type SenderDomains } from './sender-domains.ts'

const newId = createIdSource(Date.now)
const [acme, rival] = [newId(), newId()]

let target: TestDatabase
let database: Database
let wake: Wake
const opened: SenderDomains[] = []

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  wake = await openWake(target.url, () => undefined)
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme'), ($2, 'rival')`, [
    acme,
    rival,
  ])
})

afterEach(async () => {
  for (const domains of opened.splice(0)) domains.close()
  await database.engine.query('DELETE FROM valija.domains')
})

afterAll(async () => {
  await wake.close()
  await database.close()
  await target.drop()
})

/** A fresh one, which remembers nothing of earlier tests. */
function senderDomains(delivery: 'capture' | 'mx' = 'mx', isAllInOne = false): SenderDomains {
  const made = createSenderDomains({ database, wake, delivery, isAllInOne })
  opened.push(made)
  return made
}

const row = (tenantId: string, name: string) => ({
  id: newId(),
  tenantId,
  name,
  signsDkim: false,
  dkimAlgorithms: ['rsa' as const],
  dkimKeys: [],
  token: 't',
})
const vouch = (tenantId: string, name: string) =>
  insertVouchedDomain(database, { ...row(tenantId, name), status: 'verified', isVouched: true })
const claim = (tenantId: string, name: string) =>
  insertPendingDomain(database, { ...row(tenantId, name), status: 'pending', isVouched: false })

const caller = (tenantId: string, more: Partial<Caller> = {}): Caller => ({
  tenantId,
  keyId: newId(),
  scopes: new Set(['send']),
  domains: [],
  recipients: [],
  route: null,
  isOperator: false,
  isDefaultTenant: false,
  queuedLimit: null,
  limits: noLimits(),
  ...more,
})

/** `ok`, or the code of the refusal. */
async function verdict(domains: SenderDomains, by: Caller, domain: string): Promise<string> {
  return domains.check(by, domain).then(
    () => 'ok',
    (error) => {
      if (error instanceof ProductError) return error.code
      throw error
    },
  )
}

describe('a verified domain', () => {
  test('and its subdomains may be sent from by its tenant, and by no other', async () => {
    await vouch(acme, 'acme.com')
    const domains = senderDomains()
    for (const domain of ['acme.com', 'mail.acme.com', 'a.b.c.acme.com']) {
      expect(await verdict(domains, caller(acme), domain)).toBe('ok')
      expect(await verdict(domains, caller(rival), domain)).toBe('domain_not_verified')
    }
  })

  test.each([['com'], ['notacme.com'], ['acme.com.evil.test'], ['acme.test'], ['xacme.com']])(
    'does not cover %s',
    async (domain) => {
      await vouch(acme, 'acme.com')
      expect(await verdict(senderDomains(), caller(acme), domain)).toBe('domain_not_verified')
    },
  )

  test('below covers nothing above', async () => {
    await vouch(acme, 'mail.acme.com')
    expect(await verdict(senderDomains(), caller(acme), 'acme.com')).toBe('domain_not_verified')
  })

  test('covers no subdomain that another tenant has verified, nor what lies below it', async () => {
    await vouch(acme, 'acme.com')
    await vouch(rival, 'shop.acme.com')
    const domains = senderDomains()
    for (const domain of ['shop.acme.com', 'eu.shop.acme.com']) {
      expect(await verdict(domains, caller(acme), domain)).toBe('domain_not_verified')
      expect(await verdict(domains, caller(rival), domain)).toBe('ok')
    }
    expect(await verdict(domains, caller(acme), 'news.acme.com')).toBe('ok')
  })

  test('covers again what it verifies below another tenant’s subdomain', async () => {
    await vouch(acme, 'acme.com')
    await vouch(rival, 'shop.acme.com')
    await vouch(acme, 'own.shop.acme.com')
    expect(await verdict(senderDomains(), caller(acme), 'x.own.shop.acme.com')).toBe('ok')
  })

  test('loses nothing to a claim that another tenant has not proved', async () => {
    await vouch(acme, 'acme.com')
    await claim(rival, 'shop.acme.com')
    expect(await verdict(senderDomains(), caller(acme), 'shop.acme.com')).toBe('ok')
    expect(await verdict(senderDomains(), caller(rival), 'shop.acme.com')).toBe('domain_not_verified')
  })

  test.each([
    ['co.uk', 'acme.co.uk'],
    ['github.io', 'acme.github.io'],
    ['xn--55qx5d.cn', 'acme.xn--55qx5d.cn'],
  ])('never covers across the public suffix %s', async (suffix, below) => {
    expect(isPublicSuffix(suffix)).toBe(true)
    // No route lets such a row in; even so it gives no right.
    await vouch(acme, suffix)
    expect(await verdict(senderDomains(), caller(acme), below)).toBe('domain_not_verified')
    expect(await verdict(senderDomains(), caller(acme), suffix)).toBe('domain_not_verified')
  })
})

describe('a key that is bound to domains', () => {
  test('may send from these only, by their whole names', async () => {
    await vouch(acme, 'acme.com')
    const domains = senderDomains()
    const bound = caller(acme, { domains: ['news.acme.com'] })
    expect(await verdict(domains, bound, 'news.acme.com')).toBe('ok')
    for (const domain of ['acme.com', 'x.news.acme.com'])
      expect(await verdict(domains, bound, domain)).toBe('key_restricted')
  })

  test('gains nothing by it', async () => {
    expect(await verdict(senderDomains(), caller(acme, { domains: ['x.com'] }), 'x.com')).toBe(
      'domain_not_verified',
    )
  })
})

describe('the default tenant', () => {
  const me = caller(acme, { isDefaultTenant: true })

  test('may send from any domain with npm start and capture', async () => {
    expect(await verdict(senderDomains('capture', true), me, 'any.test')).toBe('ok')
    expect(await verdict(senderDomains('capture', true), { ...me, domains: ['a.test'] }, 'any.test')).toBe(
      'key_restricted',
    )
  })

  test.each([
    ['mails leave the machine', 'mx', true],
    ['the processes are separate', 'capture', false],
  ] as const)('is like any other when %s', async (_, delivery, isAllInOne) => {
    expect(await verdict(senderDomains(delivery, isAllInOne), me, 'any.test')).toBe('domain_not_verified')
  })

  test('lends its right to no other tenant', async () => {
    expect(await verdict(senderDomains('capture', true), caller(rival), 'any.test')).toBe(
      'domain_not_verified',
    )
  })
})

describe('a change', () => {
  test('is known at once to who is told', async () => {
    const domains = senderDomains()
    expect(await verdict(domains, caller(acme), 'new.com')).toBe('domain_not_verified')
    await vouch(acme, 'new.com')
    wake.send('keys', acme)
    await until(
      'the new domain is known',
      async () => (await verdict(domains, caller(acme), 'new.com')) === 'ok',
      900,
    )
  })

  test('of one tenant is known for the others too', async () => {
    await vouch(acme, 'acme.com')
    const domains = senderDomains()
    expect(await verdict(domains, caller(acme), 'shop.acme.com')).toBe('ok')
    await vouch(rival, 'shop.acme.com')
    wake.send('keys', rival)
    const isRefused = async () =>
      (await verdict(domains, caller(acme), 'shop.acme.com')) === 'domain_not_verified'
    await until('the subdomain is lost', isRefused, 1_500)
  })

  test('is known within 5 s to who is not told', async () => {
    await vouch(acme, 'old.com')
    const domains = senderDomains()
    expect(await verdict(domains, caller(acme), 'old.com')).toBe('ok')
    await database.engine.query('DELETE FROM valija.domains')
    const isRefused = async () => (await verdict(domains, caller(acme), 'old.com')) === 'domain_not_verified'
    await until('the domain is lost', isRefused, 2_500)
  })
})

test('while the database cannot be asked, nobody is told that a domain is wrong', async () => {
  const away = openDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', onError: () => undefined })
  const domains = createSenderDomains({ database: away, wake, delivery: 'mx', isAllInOne: false })
  expect(await verdict(domains, caller(acme), 'acme.com')).toBe('database_unavailable')
  domains.close()
  await away.close()
})
