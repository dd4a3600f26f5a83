/** The change of the secret key: what is sealed anew, when, by whom, and when the older key can be dropped. */
import { createIdSource, createSealer, webhookSecretOwner } from '@valija/core'
import {
  assertSameSecretKey,
  countSealedOtherwise,
  type Database,
  findSecretKeyProof,
  keyMark,
  openDatabase,
  openWake,
  resealSome,
  sealedColumns,
  writeInstanceValue,
} from '@valija/store'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { dkimKeyOwner } from './dkim-keys.ts'
import { mailboxPasswordOwner } from './mailbox-password.ts'
import { defaultKeyOwner } from './open-default-tenant.ts'
import { openFoundation } from './open-foundation.ts'
import { routePasswordOwner } from './route-password.ts'
import { type SealAnewParts, sealAnew } from './seal-anew.ts'

const [oldKey, newKey] = ['the-old-secret-key-of-this-test', 'the-new-secret-key-of-this-test']
const before = createSealer([oldKey])
const during = createSealer([newKey, oldKey])
const after = createSealer([newKey])
const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const domainId = nextId()
const routeId = nextId()
const mailboxId = nextId()
const webhookCount = 120

const closers: (() => Promise<unknown>)[] = []
let database: Database
let url: string
let told: { count: number; text: string }[]
let errors: Error[]
let webhookIds: ReturnType<typeof nextId>[]

beforeEach(async () => {
  const target = await createDatabase()
  url = target.url
  database = openDatabase({ url, onError: () => undefined })
  closers.push(target.drop, () => database.close())
  ;[told, errors] = [[], []]
  await assertSameSecretKey(database, before)
  await query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
  await query('INSERT INTO valija.domains (id, tenant_id, name, token) VALUES ($1, $2, $3, $4)', [
    ...[domainId, tenantId, 'acme.test', 'x'],
  ])
  webhookIds = Array.from({ length: webhookCount }, () => nextId())
  await query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret)
     SELECT id, $1, 'https://a.test', '{*}', secret FROM unnest($2::uuid[], $3::bytea[]) AS made (id, secret)`,
    [
      tenantId,
      webhookIds,
      webhookIds.map((id) => before.seal(Buffer.from(id), webhookSecretOwner(tenantId, id))),
    ],
  )
  await query(
    `INSERT INTO valija.dkim_keys (domain_id, selector, tenant_id, algorithm, public_key, private_key)
     VALUES ($1, 'one', $2, 'rsa', '', $3), ($1, 'two', $2, 'ed25519', '', $4)`,
    [
      ...[domainId, tenantId],
      ...['one', 'two'].map((name) => before.seal(Buffer.from(name), dkimKeyOwner(tenantId, domainId, name))),
    ],
  )
  await query(
    `INSERT INTO valija.routes (id, tenant_id, name, kind, host, port, tls, username, password)
     VALUES ($1, $2, 'relay', 'smarthost', 'relay.test', 587, 'required', 'user', $3), ($4, NULL, 'open', 'mx', NULL, NULL, NULL, NULL, NULL)`,
    [routeId, tenantId, before.seal(Buffer.from('pass'), routePasswordOwner(routeId)), nextId()],
  )
  await query(
    `INSERT INTO valija.mailboxes (id, tenant_id, name, protocol, host, port, tls, username, password)
     VALUES ($1, NULL, 'bounces', 'pop3', 'mail.test', 995, 'implicit', 'user', $2)`,
    [mailboxId, before.seal(Buffer.from('mailbox pass'), mailboxPasswordOwner(null, mailboxId))],
  )
  const kept = before.seal(Buffer.from('vlj_key'), defaultKeyOwner).toString('base64')
  await writeInstanceValue(database, 'default_key', kept)
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const query = async (text: string, values: unknown[] = []) => (await database.engine.query(text, values)).rows

const partsOf = (over: Partial<SealAnewParts> = {}): SealAnewParts => ({
  ...{ database, sealer: during, isStopped: () => false },
  log: ({ count }, text) => told.push({ count, text }),
  onError: (error) => errors.push(error),
  ...over,
})

/** Everything as a process with the new key alone reads it. */
async function openAll() {
  const webhooks = await query('SELECT id, secret FROM valija.webhooks')
  const keys = await query('SELECT selector, private_key FROM valija.dkim_keys')
  const [route] = await query('SELECT password FROM valija.routes WHERE id = $1', [routeId])
  const [mailbox] = await query('SELECT password FROM valija.mailboxes')
  const [kept] = await query(`SELECT value FROM valija.instance WHERE name = 'default_key'`)
  const open = (sealed: Buffer, owner: string) => after.open(sealed, owner).toString()
  return {
    webhooks: webhooks.map(({ id, secret }) => open(secret, webhookSecretOwner(tenantId, id)) === id),
    keys: keys.map(({ selector, private_key }) =>
      open(private_key, dkimKeyOwner(tenantId, domainId, selector)),
    ),
    route: open(route.password, routePasswordOwner(routeId)),
    mailbox: open(mailbox.password, mailboxPasswordOwner(null, mailboxId)),
    kept: open(Buffer.from(kept.value, 'base64'), defaultKeyOwner),
  }
}

describe('a change of the secret key', () => {
  test('seals everything anew, once, and then a start with the new key alone finds that all of it opens', async () => {
    expect(await sealAnew(partsOf())).toBe('done')
    expect(await openAll()).toEqual({
      webhooks: Array(webhookCount).fill(true),
      keys: ['one', 'two'],
      route: 'pass',
      mailbox: 'mailbox pass',
      kept: 'vlj_key',
    })
    await assertSameSecretKey(database, after)
    await expect(assertSameSecretKey(database, before)).rejects.toThrow('another VALIJA_SECRET_KEY')
    expect(told).toEqual([
      { count: webhookCount + 5, text: expect.stringContaining('sealed anew') },
      { count: 1, text: expect.stringMatching(/nothing is sealed with an older .* 60 days/) },
    ])
    expect(await sealAnew(partsOf())).toBe('nothing_to_do')
    expect(errors).toEqual([])
  })

  test('is shared by two workers: each value is sealed anew once', async () => {
    const outcomes = await Promise.all([sealAnew(partsOf()), sealAnew(partsOf())])
    expect(outcomes).toContain('done')
    const resealed = told.filter(({ text }) => text.includes('sealed anew'))
    expect(resealed.reduce((sum, { count }) => sum + count, 0)).toBe(webhookCount + 5)
    expect(told.filter(({ text }) => text.includes('nothing is sealed'))).toHaveLength(1)
    expect((await openAll()).webhooks).not.toContain(false)
  })

  test('that ends in the middle of a step leaves its values as they were, and the next one goes on', async () => {
    const first = during.fingerprints[0]!
    let number = 0
    const dying = resealSome(database, { kind: 'webhook', after: null, first, limit: 50 }, ({ sealed }) => {
      number += 1
      if (number === 20) throw new Error('killed')
      return sealed
    })
    await expect(dying).rejects.toThrow('killed')
    expect(await countSealedOtherwise(database.engine, [first])).toMatchObject({ webhook: webhookCount })
    expect(await sealAnew(partsOf())).toBe('done')
    expect((await openAll()).webhooks).not.toContain(false)
  })

  test('that was stopped goes on where it was', async () => {
    expect(await sealAnew(partsOf({ isStopped: () => true }))).toBe('unfinished')
    await expect(assertSameSecretKey(database, after)).rejects.toThrow('another VALIJA_SECRET_KEY')
    expect(await sealAnew(partsOf())).toBe('done')
    await assertSameSecretKey(database, after)
  })

  test('touches nothing while a process is connected that does not know the new key, and lets no further one start', async () => {
    const listening = await openWake(url, () => undefined, keyMark(before.fingerprints))
    expect(await sealAnew(partsOf())).toBe('unfinished')
    const left = await countSealedOtherwise(database.engine, before.fingerprints)
    expect(left).toEqual({})
    expect(told).toEqual([{ count: 1, text: expect.stringContaining('do not know the first') }])
    await expect(assertSameSecretKey(database, before)).rejects.toThrow('another VALIJA_SECRET_KEY')
    await assertSameSecretKey(database, during)
    await listening.close()
    expect(await sealAnew(partsOf())).toBe('done')
  })

  test('does not end while a process seals with the old key', async () => {
    const listening = await openWake(
      url,
      () => undefined,
      keyMark(createSealer([oldKey, newKey]).fingerprints),
    )
    expect(await sealAnew(partsOf())).toBe('unfinished')
    await expect(assertSameSecretKey(database, after)).rejects.toThrow('another VALIJA_SECRET_KEY')
    await listening.close()
    expect(await sealAnew(partsOf())).toBe('done')
  })

  test('keeps the old key in need, and tells why, while one value cannot be opened', async () => {
    await query('UPDATE valija.webhooks SET secret = overlay(secret PLACING $2 FROM 34) WHERE id = $1', [
      ...[webhookIds[7], Buffer.from('broken')],
    ])
    expect(await sealAnew(partsOf())).toBe('unfinished')
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining(webhookIds[7]!)])
    await expect(assertSameSecretKey(database, after)).rejects.toThrow('another VALIJA_SECRET_KEY')
  })
})

/** All that a change of the key touches. */
const everything = async () => [
  await query('SELECT name, value FROM valija.instance ORDER BY name'),
  await query('SELECT id, secret FROM valija.webhooks ORDER BY id'),
  await query('SELECT selector, private_key FROM valija.dkim_keys ORDER BY selector'),
]

describe('after a finished change', () => {
  const late = createSealer([oldKey, newKey])
  const refusal = /first VALIJA_SECRET_KEY here was retired.*"new,old"/

  test('a late process with "old,new" is refused, seals nothing and changes nothing, and doctor says the same', async () => {
    expect(await sealAnew(partsOf())).toBe('done')
    const present = await everything()
    await expect(assertSameSecretKey(database, late)).rejects.toThrow(refusal)
    await expect(sealAnew(partsOf({ sealer: late }))).rejects.toThrow(refusal)
    expect(await findSecretKeyProof(database, late)).toBe('retired_key')
    expect(await everything()).toEqual(present)
    for (const sealer of [during, after]) {
      await assertSameSecretKey(database, sealer)
      expect(await findSecretKeyProof(database, sealer)).toBe('opened')
    }
  })

  // An earlier version retired no key: its late process could begin or finish a change back.
  test.each([
    ['begun', 'unfinished'],
    ['finished', 'done'],
  ] as const)('"new,old" leads out of a change back that was %s', async (_, outcome) => {
    const forgetRetired = () => query(`DELETE FROM valija.instance WHERE name LIKE 'seal:retired:%'`)
    expect(await sealAnew(partsOf())).toBe('done')
    await forgetRetired()
    const api = await openWake(url, () => undefined, keyMark(outcome === 'done' ? [] : after.fingerprints))
    if (outcome === 'done') await api.close()
    expect(await sealAnew(partsOf({ sealer: late }))).toBe(outcome)
    await forgetRetired()
    await expect(assertSameSecretKey(database, after)).rejects.toThrow('another VALIJA_SECRET_KEY')
    await assertSameSecretKey(database, during)
    expect(await sealAnew(partsOf())).toBe('done')
    if (outcome === 'unfinished') await api.close()
    await assertSameSecretKey(database, after)
    expect((await openAll()).webhooks).not.toContain(false)
    expect(await sealAnew(partsOf())).toBe('nothing_to_do')
  })

  test('a value that a lost key has sealed keeps nobody from starting', async () => {
    await sealAnew(partsOf())
    const id = nextId()
    await query(
      `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'https://a.test', '{*}', $3)`,
      [...[id, tenantId, before.seal(Buffer.from('late'), webhookSecretOwner(tenantId, id))]],
    )
    const foundation = await openFoundation({
      ...{ databaseUrl: url, redisUrl: null, secretKeys: [newKey] },
      onError: (error) => errors.push(error),
    })
    await foundation.close()
    expect(errors.map(({ message }) => message)).toEqual([
      expect.stringMatching(/not configured \(webhook: 1\).*waits.*"new,old"/),
    ])
    expect(await sealAnew(partsOf())).toBe('done')
    expect((await openAll()).kept).toBe('vlj_key')
  })
})

test('two that change to two keys do not undo each other: the first one goes on while it is connected', async () => {
  const listening = await openWake(url, () => undefined, keyMark(before.fingerprints))
  expect(await sealAnew(partsOf())).toBe('unfinished')
  const changing = await openWake(url, () => undefined, keyMark(during.fingerprints))
  const back = createSealer([oldKey, newKey])
  expect(await sealAnew(partsOf({ sealer: back }))).toBe('unfinished')
  expect(told.at(-1)?.text).toMatch(/changing to another first VALIJA_SECRET_KEY/)
  await changing.close()
  await listening.close()
  expect(await sealAnew(partsOf({ sealer: back }))).toBe('done')
  await assertSameSecretKey(database, before)
})

test('every column of octets is known: either sealed, and sealed anew, or none of a secret', async () => {
  const columns = await query(
    `SELECT table_name || '.' || column_name AS name FROM information_schema.columns
     WHERE table_schema = 'valija' AND data_type = 'bytea' ORDER BY 1`,
  )
  const noSecrets = [
    'api_keys.hash',
    'bodies.content',
    'idempotency_keys.body_hash',
    'inbox.raw',
    'message_digests.subjects',
    'message_digests.terms',
    'taken_reports.fingerprint',
  ]
  expect(columns.map(({ name }) => name)).toEqual([...sealedColumns, ...noSecrets].toSorted())
})
