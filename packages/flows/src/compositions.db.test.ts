/** Composing and signing once per message and way of signing, shared while anybody needs it. */
import { randomBytes } from 'node:crypto'
import { createIdSource, createSealer, createUnsubscribeTokens, type Uuid } from '@valija/core'
import { parseMailbox, readMessageToken } from '@valija/mail'
import {
  type Database,
  encodeBody,
  insertVouchedDomain,
  openDatabase,
  openWake,
  type Wake,
} from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { ComposeError, type Compositions, createCompositions, NoRoomError } from './compositions.ts'
import { makeDkimKeys } from './dkim-keys.ts'
import { createReportFields } from './report-fields.ts'
import { createMailSigner, type MailSigner, type Signing, SigningError } from './sign-mail.ts'

const newId = createIdSource(Date.now)
const sealer = createSealer(['the secret of this test'])
const tenantId = newId()
const domainId = newId()
let target: TestDatabase
let database: Database
let wake: Wake
let signer: MailSigner
let compositions: Compositions

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
  wake = await openWake(target.url, () => {})
  signer = createMailSigner({ database, wake, sealer })
  compositions = createCompositions(parts())
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
  await insertVouchedDomain(database, {
    id: domainId,
    tenantId,
    name: 'acme.test',
    status: 'verified',
    isVouched: true,
    signsDkim: true,
    dkimAlgorithms: ['ed25519'],
    dkimKeys: await makeDkimKeys(sealer, { tenantId, id: domainId }, ['ed25519']),
    token: 't',
  })
})
afterAll(async () => {
  signer.close()
  await wake.close()
  await database.close()
  await target.drop()
})

const reportFields = createReportFields({ sealer, bounceDomain: 'bounces.acme.test' })
const parts = () => ({
  database,
  signer,
  reportFields,
  unsubscribeTokens: createUnsubscribeTokens([Buffer.alloc(32)]),
})
/** Somebody who gets the message. */
const reader = (messageId: Uuid, recipientId = newId()) =>
  ({ messageId, recipientId, email: `${recipientId}@b.test`, stream: 'bulk' }) as const
const signing: Signing = { tenantId, fromDomain: 'acme.test', signedAt: new Date(0), rewritesIds: false }

async function store(
  text = 'From: a@acme.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\nHello\r\n',
): Promise<Uuid> {
  const id = newId()
  const content = encodeBody({ kind: 'raw', bytes: Buffer.from(text), needsSmtpUtf8: false })
  await database.engine.query(
    'INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $2, $3)',
    [id, tenantId, content],
  )
  return id
}

test('all who need a message at the same time share one composition, and none is kept after the last of them', async () => {
  const id = await store()
  const [first, second] = await Promise.all([
    compositions.acquire(reader(id), signing),
    compositions.acquire(reader(id), signing),
  ])
  expect(first).toBe(second)
  compositions.release(reader(id), signing)
  expect(await compositions.acquire(reader(id), signing)).toBe(first)
  compositions.release(reader(id), signing)
  compositions.release(reader(id), signing)
  const later = await compositions.acquire(reader(id), signing)
  compositions.release(reader(id), signing)
  expect(later).not.toBe(first)
  expect(later).toEqual(first)
})

test('a body that came with its lease is not read again', async () => {
  const bytes = Buffer.from('From: a@acme.test\r\nDate: x\r\nMessage-ID: <2@a>\r\n\r\nLeased\r\n')
  const body = encodeBody({ kind: 'raw', bytes, needsSmtpUtf8: false })
  // Nothing is stored of it.
  const leased = { ...reader(newId()), body }
  const mail = await compositions.acquire(leased, signing)
  compositions.release(leased, signing)
  expect(mail.bytes.toString()).toContain('Leased')
})

test('a route whose relay rewrites Date and Message-ID has a signature of its own, over the same mail', async () => {
  const id = await store()
  const rewriting = { ...signing, rewritesIds: true }
  const [usual, other] = await Promise.all([
    compositions.acquire(reader(id), signing),
    compositions.acquire(reader(id), rewriting),
  ])
  compositions.release(reader(id), signing)
  compositions.release(reader(id), rewriting)
  const [one, two] = [usual.bytes.toString(), other.bytes.toString()]
  expect(/ h=([^;]+);/.exec(one)?.[1]).toMatch(/Message-ID/)
  expect(/ h=([^;]+);/.exec(two)?.[1]).not.toMatch(/Date|Message-ID/)
  expect(two.slice(two.indexOf('\r\nFrom:'))).toBe(one.slice(one.indexOf('\r\nFrom:')))
})

/** A mail that we compose. */
async function storeFields(): Promise<Uuid> {
  const id = await store()
  const from = parseMailbox('a@acme.test')
  if (!from.ok) throw new Error(from.message)
  const composition = {
    ...{
      from: from.value,
      replyTo: [],
      to: [from.value],
      cc: [],
      subject: 'x',
      text: 'y',
      html: null,
      headers: [],
    },
    ...{ attachments: [], messageId: '<1@acme.test>', date: new Date(0), boundarySeed: '0123456789abcdef' },
  }
  await database.engine.query('UPDATE valija.bodies SET content = $2 WHERE message_id = $1', [
    id,
    encodeBody({ kind: 'fields', composition }),
  ])
  return id
}

test('what we compose carries our token and, for receivers of the same domain, under the signature, where complaints go to', async () => {
  const textOf = async (id: Uuid, by = signing) => {
    const { bytes } = await compositions.acquire(reader(id), by)
    compositions.release(reader(id), by)
    return bytes.toString()
  }
  const id = await storeFields()
  const text = await textOf(id)
  const token = /\r\nX-Valija-Recipient: (\S+)\r\n/.exec(text)![1]!
  expect(readMessageToken(token, sealer.signingKeys('return path'), 0)).toMatchObject({
    value: { messageId: id.replaceAll('-', ''), day: 0 },
  })
  expect(text).toContain(`\r\nCFBL-Address: ${token}@bounces.acme.test; report=arf\r\n`)
  expect(/ h=([^;]+);/.exec(text)?.[1]).toMatch(/CFBL-Address/)
  expect(await textOf(id)).toBe(text)
  // Another From domain would have to sign for ours too.
  expect(await textOf(id, { ...signing, fromDomain: 'other.test' })).toMatch(
    /^X-Valija-Recipient: c-\S+\r\nFrom:/,
  )
  // What its sender has written stays as it is.
  expect(await textOf(await store())).not.toMatch(/X-Valija|CFBL/)
})

test('a failure is told to those who wait, and not kept for those who come later', async () => {
  const id = await store()
  const turn = async () => {
    await database.engine.query(
      'UPDATE valija.dkim_keys SET private_key = set_byte(private_key, 40, 255 - get_byte(private_key, 40))',
    )
    const forgotten = Promise.withResolvers<void>()
    const stop = wake.on('keys', () => forgotten.resolve())
    wake.send('keys', tenantId)
    await forgotten.promise
    stop()
  }
  await turn()
  const failures = await Promise.allSettled([
    compositions.acquire(reader(id), signing),
    compositions.acquire(reader(id), signing),
  ])
  expect(failures.map((failure) => failure.status === 'rejected' && failure.reason)).toEqual([
    expect.any(SigningError),
    expect.any(SigningError),
  ])
  await turn()
  // Both are still held, as by recipients of the same message that have not given it back yet.
  expect((await compositions.acquire(reader(id), signing)).bytes.toString()).toMatch(/^DKIM-Signature/)
  for (let i = 0; i < 3; i++) compositions.release(reader(id), signing)
})

test('a body that is gone is a fault of the message, not of the moment', async () => {
  const id = newId()
  await expect(compositions.acquire(reader(id), signing)).rejects.toThrow(ComposeError)
  compositions.release(reader(id), signing)
})

/** Nothing compresses random digits to less than half: 500 KB each as stored. */
const largeText = () =>
  `From: a@acme.test\r\nDate: x\r\nMessage-ID: <1@a>\r\n\r\n${randomBytes(500_000).toString('hex')}`

test('of large mails no more are in hand than there is room for; small ones pass them, and the next comes when one is done', async () => {
  const roomy = createCompositions(parts(), {
    total: 1_300_000,
    perOwner: 1_300_000,
    patienceMs: 60_000,
  })
  const unsigned = { ...signing, fromDomain: 'unsigned.test' }
  const [first, second, third] = [
    await store(largeText()),
    await store(largeText()),
    await store(largeText()),
  ]
  const ready: Uuid[] = []
  const acquire = (id: Uuid) => roomy.acquire(reader(id), unsigned).then(() => void ready.push(id))
  const waiting = [first, second, third].map(acquire)
  await Promise.all(waiting.slice(0, 2))
  // Longer than the third would take if it were read.
  for (let count = 0; count < 3; count++) {
    const small = await store()
    await acquire(small)
    roomy.release(reader(small), unsigned)
  }
  expect(ready.slice(0, 2).sort()).toEqual([first, second].sort())
  expect(ready).not.toContain(third)
  roomy.release(reader(first), unsigned)
  await waiting[2]
  expect(ready).toContain(third)
})

test('a tenant with its share of large mails in hand is told so soon, keeps no other tenant out, and may come again', async () => {
  const roomy = createCompositions(parts(), { total: 2_000_000, perOwner: 800_000, patienceMs: 100 })
  const mine = { ...signing, fromDomain: 'unsigned.test' }
  const others = { ...mine, tenantId: newId() }
  const [first, second] = [await store(largeText()), await store(largeText())]
  await roomy.acquire(reader(first), mine)
  const refused = roomy.acquire(reader(second), mine)
  refused.catch(() => undefined)
  await roomy.acquire(reader(await store(largeText())), others)
  await expect(refused).rejects.toThrow(NoRoomError)
  roomy.release(reader(second), mine)
  roomy.release(reader(first), mine)
  expect((await roomy.acquire(reader(second), mine)).bytes.length).toBeGreaterThan(1_000_000)
})

async function storePersonal(text: string): Promise<Uuid> {
  const id = newId()
  const unsubscribeBase = 'https://mail.test/unsubscribe/'
  const content = encodeBody({ kind: 'raw', bytes: Buffer.from(text), needsSmtpUtf8: false, unsubscribeBase })
  const insertion = 'INSERT INTO valija.bodies (message_id, tenant_id, content) VALUES ($1, $2, $3)'
  await database.engine.query(insertion, [id, tenantId, content])
  return id
}

test('a mail with a link for each recipient is each one’s own, signed with the link, and the same at every try', async () => {
  const id = await storePersonal('From: a@acme.test\r\nDate: x\r\n\r\nHello\r\n')
  const [ann, bob] = [reader(id), reader(id)]
  const [anns, bobs] = await Promise.all([
    compositions.acquire(ann, signing),
    compositions.acquire(bob, signing),
  ])
  for (const who of [ann, bob]) compositions.release(who, signing)
  const linkIn = (mail: { bytes: Buffer }) =>
    /^List-Unsubscribe: <https:\/\/mail\.test\/unsubscribe\/([\w-]+)>\r\n/m.exec(mail.bytes.toString())?.[1]
  const { unsubscribeTokens } = parts()
  expect(unsubscribeTokens.read(linkIn(anns)!)).toEqual({ ...ann, tenantId })
  expect(unsubscribeTokens.read(linkIn(bobs)!)).toEqual({ ...bob, tenantId })
  expect(anns.bytes.toString()).toContain('\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n')
  expect(anns.bytes.toString()).toMatch(/^DKIM-Signature: /)
  const again = await compositions.acquire(ann, signing)
  compositions.release(ann, signing)
  expect(again).toEqual(anns)
})

test('copies of a large mail have room of their own: who has the mail is not in the way of its own copy', async () => {
  const roomy = createCompositions(parts(), { total: 1_100_000, perOwner: 1_100_000, patienceMs: 100 })
  const id = await storePersonal(largeText())
  const unsigned = { ...signing, fromDomain: 'unsigned.test' }
  const [first, second] = [reader(id), reader(id)]
  const copy = await roomy.acquire(first, unsigned)
  expect(copy.bytes.length).toBeGreaterThan(1_000_000)
  await expect(roomy.acquire(second, unsigned)).rejects.toThrow(NoRoomError)
  roomy.release(second, unsigned)
  roomy.release(first, unsigned)
  await roomy.acquire(second, unsigned)
})
