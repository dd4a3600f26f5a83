/** DKIM from end to end: what the receiving server gets is signed, by keys that nobody reads from the database, and the same at every try. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bothPass, type DkimRecords, dkimVerifiers, verifyByMailauth } from './support/dkim-verifiers.ts'
import { type DnsServer, startDnsServer } from './support/dns-server.ts'
import { post, readAttempts, readMessage, untilEnded } from './support/message-life.ts'
import { drop, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

type DomainView = {
  id: string
  name: string
  status: string
  records: { purpose: string; name: string; value: string }[]
}

const signedDomain = 'signed.test'
let dns: DnsServer
let peer: SmtpPeer
let valija: Valija
let records: DkimRecords

beforeAll(async () => {
  peer = await startSmtpPeer()
  dns = await startDnsServer()
  const env = { VALIJA_RETRY_SCHEDULE: '1s,1s', VALIJA_DNS_SERVERS: dns.address }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
  const body = { name: signedDomain, vouched: true, dkim: true }
  const made = await valija.admin<DomainView>('POST', '/domains', body, { 'valija-tenant': valija.tenantId })
  const dkim = expectStatus(made, 201).json.records.filter(({ purpose }) => purpose === 'dkim')
  records = Object.fromEntries(dkim.map(({ name, value }) => [name, value]))
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
  await dns?.stop()
})

const from = `Acme <hi@${signedDomain}>`
const mailsTo = (address: string) => peer.mails.filter(({ to }) => to.includes(address)).map(({ raw }) => raw)

const contents: Record<string, (to: string) => Record<string, unknown>> = {
  composed: (to) =>
    valija.mail({ from, to, html: '<p>Grüße</p>', headers: { 'List-Unsubscribe': '<https://a.test/u>' } }),
  'composed for a subdomain': (to) => valija.mail({ from: `x@mail.${signedDomain}`, to }),
  'with an attachment': (to) =>
    valija.mail({
      from,
      to,
      attachments: [{ filename: 'ä.bin', content: Buffer.alloc(90_000, 'valija').toString('base64') }],
    }),
  'raw, with 8-bit text, odd white space and no last line end': (to) => ({
    from: `hi@${signedDomain}`,
    to,
    raw: Buffer.from(
      `DKIM-Signature: v=1; forged\r\nFrom: hi@${signedDomain}\r\nSubject:  odd \t one\r\n folded\r\nTO: x@b.test\r\n\r\n.dot\r\n Grüße \t\r\n\r\nend  `,
    ).toString('base64'),
  }),
}

describe.each(dkimVerifiers())(
  '$verifier takes both signatures of what arrives',
  ({ verifier, isAbsent, verify }) => {
    test.skipIf(isAbsent).each(Object.keys(contents))('%s', async (kind) => {
      const to = `${verifier}.${Object.keys(contents).indexOf(kind)}@example.org`
      const id = await post(valija.api, contents[kind]!(to))
      expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
      const arrived = mailsTo(to)
      expect(arrived).toHaveLength(1)
      expect(await verify(arrived, records)).toEqual([bothPass])
    })
  },
)

test('a retry sends the same octets, which are those of GET /messages/:id/raw', async () => {
  const to = 'retry@example.org'
  const reactions = ['451 4.3.0 once more', drop()]
  peer.script.body = ({ to: [address] }) => (address === to ? reactions.shift() : undefined)
  const id = await post(valija.api, valija.mail({ from, to }))
  expect(await untilEnded(valija.api, id)).toMatchObject({
    recipients: [{ status: 'delivered', attempts: 3 }],
  })
  const raw = await valija.api('GET', `/messages/${id}/raw`)
  const sent = [...peer.refused, ...peer.mails].filter((mail) => mail.to.includes(to))
  expect(sent.map(({ text }) => text)).toEqual(new Array(3).fill(raw.text))
})

test('all recipients of a message get the same octets, signed once', async () => {
  const to = Array.from({ length: 30 }, (_, i) => `many${i}@example.org`)
  const id = await post(valija.api, valija.mail({ from, to }))
  expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
  const texts = new Set(to.flatMap(mailsTo).map((mail) => mail.toString('latin1')))
  expect(texts.size).toBe(1)
})

test('a domain that DNS verifies is signed for by the keys that DNS has, and by no other', async () => {
  const made = await valija.api<DomainView>('POST', '/domains', { name: 'own.test' })
  const { id, records: wanted } = expectStatus(made, 201).json
  const mail = (to: string) => valija.mail({ from: 'a@own.test', to })
  expectStatus(await valija.api('POST', '/send', mail('early@example.org')), 403)

  for (const { name, value } of wanted) dns.set(name, 'TXT', [value])
  const verified = await valija.api<DomainView>('POST', `/domains/${id}/verify`)
  expect(expectStatus(verified, 200).json.status).toBe('verified')
  const verdictsOn = async (to: string) => {
    await untilEnded(valija.api, await post(valija.api, mail(to)))
    return (
      await verifyByMailauth(mailsTo(to), Object.fromEntries(wanted.map(({ name, value }) => [name, value])))
    )[0]
  }
  await until(
    'may send',
    async () => (await valija.api('POST', '/send', mail('soon@example.org'))).status === 202,
  )
  expect(await verdictsOn('both@example.org')).toEqual(bothPass)

  dns.remove(wanted[1]!.name)
  expectStatus(await valija.api('POST', `/domains/${id}/verify`), 200)
  // The workers are told after the answer, so a mail that is quick may still have both.
  let count = 0
  await until('one signature', async () => (await verdictsOn(`one${count++}@example.org`))?.length === 1)
  expect(await verdictsOn('last@example.org')).toEqual(['ed25519-sha256: pass'])
})

test('a domain vouched for without a word on DKIM is not signed for', async () => {
  const to = 'unsigned@example.org'
  await untilEnded(valija.api, await post(valija.api, valija.mail({ to })))
  expect(mailsTo(to)[0]?.toString()).not.toContain('DKIM-Signature')
})

test('every mail says whose it is, for feedback by stream and tenant, unless its sender does', async () => {
  const own = valija.mail({ from, to: 'own@example.org', headers: { 'Feedback-ID': 'a:b:c:acme' } })
  await untilEnded(valija.api, await post(valija.api, own))
  expect(
    mailsTo('own@example.org')[0]
      ?.toString()
      .match(/^Feedback-ID: .*/gm),
  ).toEqual(['Feedback-ID: a:b:c:acme'])
  const bulk = valija.mail({ from, to: 'bulk@example.org', stream: 'bulk' })
  await untilEnded(valija.api, await post(valija.api, bulk))
  const field = `Feedback-ID: bulk:${valija.tenantId.slice(-8)}:valija`
  expect(mailsTo('bulk@example.org')[0]?.toString()).toContain(field)
})

test('with a key that cannot be opened the mail waits, says so, and goes out signed once it can', async () => {
  const name = 'locked.test'
  const body = { name, vouched: true, dkim: true }
  const made = await valija.admin<DomainView>('POST', '/domains', body, { 'valija-tenant': valija.tenantId })
  expectStatus(made, 201)
  const turn = () =>
    valija.sql(
      `UPDATE valija.dkim_keys SET private_key = set_byte(private_key, 40, 255 - get_byte(private_key, 40))
       WHERE domain_id = (SELECT id FROM valija.domains WHERE name = $1)`,
      [name],
    )
  await turn()
  const to = 'waits@example.org'
  const id = await post(valija.api, valija.mail({ from: `a@${name}`, to }))
  const waiting = await until('deferred', async () => {
    const [recipient] = (await readMessage(valija.api, id)).recipients
    return recipient?.attempts ? recipient : null
  })
  expect(waiting).toMatchObject({ reason: 'internal', reply: expect.stringContaining('DKIM key vlj') })
  expect(mailsTo(to)).toEqual([])
  await turn()
  expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
  expect((await readAttempts(valija.api, id)).at(0)?.outcome).toBe('deferred')
  expect(mailsTo(to)[0]?.toString()).toMatch(/^DKIM-Signature: v=1; a=rsa-sha256;/)
})
