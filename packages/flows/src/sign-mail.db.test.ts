/**
 * Whose signature a mail gets, and that it gets none or waits where that is right.
 */
import { createIdSource, createSealer, SealError, type Uuid } from '@valija/core'
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
import { bothPass, verifyByMailauth } from '../../../tests/support/dkim-verifiers.ts'
import { makeDkimKeys, openDkimKey } from './dkim-keys.ts'
import { createMailSigner, type MailSigner, type Signing, SigningError } from './sign-mail.ts'

const newId = createIdSource(Date.now)
const sealer = createSealer(['the secret of this test'])
const [tenantId, stranger] = [newId(), newId()]
const records: Record<string, string> = {}
let target: TestDatabase
let database: Database
let wake: Wake
const opened: MailSigner[] = []

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  wake = await openWake(target.url, () => {})
  for (const id of [tenantId, stranger]) {
    await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  }
})
afterEach(async () => {
  for (const signer of opened.splice(0)) signer.close()
  await database.engine.query('DELETE FROM valija.domains')
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await target.drop()
})

type Kind = 'vouched' | 'vouched and signed' | 'pending' | 'verified'

/** A domain with both keys, and the names of their records, RSA first. */
async function add(
  name: string,
  kind: Kind,
  owner: Uuid = tenantId,
): Promise<{ id: Uuid; selectors: string[] }> {
  const identity = { id: newId(), tenantId: owner }
  const keys = await makeDkimKeys(sealer, identity, ['rsa', 'ed25519'])
  for (const { selector, algorithm, publicKey } of keys) {
    records[`${selector}._domainkey.${name}`] = `v=DKIM1; k=${algorithm}; p=${publicKey}`
  }
  const row = {
    ...identity,
    name,
    dkimAlgorithms: ['rsa' as const, 'ed25519' as const],
    dkimKeys: keys,
    token: 't',
  }
  if (kind === 'vouched' || kind === 'vouched and signed') {
    const signsDkim = kind === 'vouched and signed'
    await insertVouchedDomain(database, { ...row, status: 'verified', isVouched: true, signsDkim })
  } else {
    await insertPendingDomain(database, { ...row, status: 'pending', isVouched: false, signsDkim: false })
    if (kind === 'verified') {
      await database.engine.query("UPDATE valija.domains SET status = 'verified' WHERE id = $1", [
        identity.id,
      ])
    }
  }
  return { id: identity.id, selectors: keys.map((key) => `${key.selector}._domainkey.${name}`) }
}

/** What DNS was last seen to say of a record. */
const see = (domainId: Uuid, name: string, status: string, owner: Uuid = tenantId) =>
  database.engine.query(
    `INSERT INTO valija.domain_checks (domain_id, tenant_id, type, name, status, checked_at) VALUES ($1, $2, 'TXT', $3, $4, now())
     ON CONFLICT (domain_id, type, name) DO UPDATE SET status = $4`,
    [domainId, owner, name, status],
  )

function openSigner(by = sealer): MailSigner {
  const signer = createMailSigner({ database, wake, sealer: by })
  opened.push(signer)
  return signer
}

const mailFrom = (domain: string) =>
  Buffer.from(`From: a@${domain}\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n`)
const signedAt = new Date('2026-11-23T10:00:00Z')
const sign = (domain: string, more: Partial<Signing> = {}, signer = openSigner()) =>
  signer.sign(mailFrom(domain), { tenantId, fromDomain: domain, signedAt, rewritesIds: false, ...more })
const verdicts = async (domain: string, more: Partial<Signing> = {}) =>
  (await verifyByMailauth([await sign(domain, more)], records))[0]

describe('signed', () => {
  test('by both keys, always, for a domain that the operator vouches for with "dkim": true', async () => {
    await add('vouched.test', 'vouched and signed')
    expect(await verdicts('vouched.test')).toEqual(bothPass)
  })

  test('by those keys of a verified domain whose selectors DNS was last seen to have', async () => {
    const { id, selectors } = await add('verified.test', 'verified')
    expect(await verdicts('verified.test')).toEqual([])
    await see(id, selectors[1]!, 'ok')
    expect(await verdicts('verified.test')).toEqual(['ed25519-sha256: pass'])
    await see(id, selectors[0]!, 'ok')
    expect(await verdicts('verified.test')).toEqual(bothPass)
    await see(id, selectors[0]!, 'wrong')
    await see(id, selectors[1]!, 'missing')
    expect(await verdicts('verified.test')).toEqual([])
  })

  test('only by the algorithms that are wanted', async () => {
    const { id } = await add('one.test', 'vouched and signed')
    await database.engine.query("UPDATE valija.domains SET dkim_algorithms = '{rsa}' WHERE id = $1", [id])
    expect(await verdicts('one.test')).toEqual(['rsa-sha256: pass'])
  })

  test('for a domain below, by the nearest verified one', async () => {
    await add('acme.test', 'vouched and signed')
    await add('eu.acme.test', 'vouched and signed')
    await add('mail.eu.acme.test', 'pending')
    const signed = (await sign('x.mail.eu.acme.test')).toString()
    expect(signed.match(/d=([^;]+);/g)).toEqual(['d=eu.acme.test;', 'd=eu.acme.test;'])
  })

  test('without Date and Message-ID for a route whose relay rewrites them', async () => {
    await add('relay.test', 'vouched and signed')
    const signed = (await sign('relay.test', { rewritesIds: true })).toString()
    expect(/ h=([^;]+);/.exec(signed)?.[1]).not.toMatch(/date|message-id/i)
    expect(await verdicts('relay.test', { rewritesIds: true })).toEqual(bothPass)
  })

  test('the same by every worker and at every attempt', async () => {
    await add('same.test', 'vouched and signed')
    expect(await sign('same.test')).toEqual(await sign('same.test'))
  })

  test('for a domain of an earlier version too, which gets its keys then, once', async () => {
    const { id } = await add('old.test', 'vouched and signed')
    await database.engine.query('DELETE FROM valija.dkim_keys WHERE domain_id = $1', [id])
    const signed = await Promise.all([sign('old.test'), sign('old.test')])
    expect(signed[0]).toEqual(signed[1])
    const keys = await database.engine.query('SELECT FROM valija.dkim_keys WHERE domain_id = $1', [id])
    expect(keys.rowCount).toBe(2)
  })
})

describe('not signed', () => {
  test.each<[string, string, Kind, boolean]>([
    ['vouched for without a word on DKIM', 'v.test', 'vouched', false],
    ['not verified', 'p.test', 'pending', false],
    ['another tenant’s', 'f.test', 'vouched and signed', true],
  ])('a domain that is %s', async (_, name, kind, isForeign) => {
    const owner = isForeign ? stranger : tenantId
    const { id, selectors } = await add(name, kind, owner)
    for (const selector of selectors) await see(id, selector, 'ok', owner)
    expect(await sign(name)).toEqual(mailFrom(name))
  })

  test('a domain below one’s own that another tenant has verified', async () => {
    await add('b.test', 'vouched and signed')
    await add('sub.b.test', 'vouched', stranger)
    expect(await sign('sub.b.test')).toEqual(mailFrom('sub.b.test'))
  })
})

describe('never unsigned for some trouble', () => {
  test('a key that was sealed by a secret key which is not configured', async () => {
    await add('other-secret.test', 'vouched and signed')
    const signer = openSigner(createSealer(['another secret']))
    const failure = await sign('other-secret.test', {}, signer).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(SigningError)
    expect((failure as Error).message).toContain('VALIJA_SECRET_KEY')
  })

  test('a key that was moved there from another domain, tenant or selector', async () => {
    const [one, other] = [
      await add('one.test', 'vouched and signed'),
      await add('two.test', 'vouched and signed'),
    ]
    await database.engine.query(
      `UPDATE valija.dkim_keys AS k SET private_key = other.private_key FROM valija.dkim_keys AS other
       WHERE k.domain_id = $1 AND other.domain_id = $2 AND k.algorithm = other.algorithm`,
      [one.id, other.id],
    )
    await expect(sign('one.test')).rejects.toThrow(SigningError)
    await expect(sign('two.test')).resolves.toBeInstanceOf(Buffer)
    const [key] = await makeDkimKeys(sealer, { tenantId, id: one.id }, ['ed25519'])
    for (const owner of [
      { tenantId: stranger, id: one.id },
      { tenantId, id: other.id },
    ]) {
      expect(() => openDkimKey(sealer, owner, key!)).toThrow(SealError)
    }
    expect(() => openDkimKey(sealer, { tenantId, id: one.id }, { ...key!, selector: 'x' })).toThrow(SealError)
  })

  test('a key that is of another kind than it says', async () => {
    const { id } = await add('kind.test', 'vouched and signed')
    await database.engine.query(
      "UPDATE valija.dkim_keys SET algorithm = CASE algorithm WHEN 'rsa' THEN 'ed25519' ELSE 'rsa' END WHERE domain_id = $1",
      [id],
    )
    await expect(sign('kind.test')).rejects.toThrow(SigningError)
  })
})

test('keys are remembered, and forgotten when a domain changes', async () => {
  const { id, selectors } = await add('change.test', 'verified')
  const signer = openSigner()
  const isSigned = async () => (await sign('change.test', {}, signer)).length > mailFrom('change.test').length
  expect(await isSigned()).toBe(false)
  await see(id, selectors[0]!, 'ok')
  expect(await isSigned()).toBe(false)
  wake.send('keys', tenantId)
  await expect.poll(isSigned, { timeout: 10_000 }).toBe(true)
})

test('a dump of the database holds nothing of a private key', async () => {
  const { id } = await add('dump.test', 'vouched and signed')
  const { rows } = await database.engine.query(
    'SELECT selector, private_key AS "privateKey" FROM valija.dkim_keys WHERE domain_id = $1',
    [id],
  )
  const tables = await database.engine.query(
    `SELECT table_schema || '.' || quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_schema = 'valija' AND table_type = 'BASE TABLE' AND table_name <> '_prisma_migrations'`,
  )
  const texts = await Promise.all(
    tables.rows.map(async ({ name }) =>
      (await database.engine.query(`SELECT t::text AS text FROM ${name} AS t`)).rows
        .map((row) => row.text)
        .join('\n'),
    ),
  )
  const dump = texts.join('\n')
  expect(dump).toContain('dump.test')
  expect(dump).not.toContain('PRIVATE KEY')
  expect(rows).toHaveLength(2)
  for (const row of rows) {
    const { d, p, q, dp, dq, qi } = openDkimKey(sealer, { tenantId, id }, row).export({ format: 'jwk' })
    for (const secret of [d, p, q, dp, dq, qi].filter((part) => part !== undefined)) {
      const octets = Buffer.from(secret, 'base64url').subarray(0, 24)
      expect(dump).not.toContain(octets.toString('hex'))
      expect(dump).not.toContain(octets.toString('base64'))
    }
  }
})
