/**
 * Bounces and complaints that come back over SMTP: what they say follows, once, and nobody but the hosts that had our mail can make
 * anything follow.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createSealer } from '@valija/core'
import { type ReturnPath, readReturnPath, returnPath } from '@valija/mail'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { certificate } from './support/certificate.ts'
import { startDatabaseProxy } from './support/database-proxy.ts'
import { type Internet, startInternet } from './support/internet.ts'
import { eventTypes, inParallel, post, readEvents, readMessage, untilEnded } from './support/message-life.ts'
import { bounceOf, complaintOf } from './support/report-mail.ts'
import { scaled, timeFor } from './support/scale.ts'
import { connectSmtp, handIn } from './support/smtp-client.ts'
import type { ReceivedMail, SmtpPeer } from './support/smtp-peer.ts'
import { ENDINGS, SECOND_MAIL } from './support/smuggling.ts'
import { until } from './support/until.ts'
import { expectStatus, SECRET_KEY, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const secret = createSealer([SECRET_KEY]).signingKeys('return path')[0]!
const today = Math.floor(Date.now() / 86_400_000)

let internet: Internet
let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija
let port: number

beforeAll(async () => {
  internet = await startInternet()
  peer = await internet.site('example.org')
  receiver = await startWebhookReceiver()
  valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
  port = (await valija.addSmtp()).port
  const made = await valija.api<{ secret: string }>('POST', '/webhooks', { url: receiver.url, events: ['*'] })
  receiver.secret = expectStatus(made, 201).json.secret
})
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await internet?.stop()
})

/** A mail that was delivered, as its receiver has it. */
async function deliver(to: string, more: object = {}): Promise<{ id: string; mail: ReceivedMail }> {
  const id = await post(valija.api, valija.mail({ to, ...more }))
  const message = await untilEnded(valija.api, id)
  expect(message.status).toBe('delivered')
  const mail = peer.mails.find(({ text }) => text.includes(message.rfc_message_id))!
  return { id, mail }
}

async function suppressionsOf(email: string) {
  const answer = await valija.api<{ data: { reason: string; stream: string | null; status: string }[] }>(
    'GET',
    `/suppressions?email=${encodeURIComponent(email)}`,
  )
  return expectStatus(answer, 200).json.data
}

const toldOf = (id: string) =>
  receiver.calls
    .map(({ json }) => json as { type: string; data: Record<string, unknown> })
    .filter(({ data }) => data.message_id === id)
    .map(({ type }) => type)

test.concurrent('a bounce after the delivery ends its recipient as bounced: event, webhook, suppression and explanation say why', async () => {
  const { id, mail } = await deliver('gone@example.org', { tags: ['a'] })
  expect(await handIn(port, mail.from, bounceOf(mail))).toMatch(/^250 2\.6\.0/)
  expect(await readMessage(valija.api, id)).toMatchObject({
    status: 'bounced',
    recipients: [
      {
        status: 'bounced',
        reason: 'mailbox_unknown',
        reply: '550 5.1.1 No such user here',
        enhanced_status: '5.1.1',
        delivered_at: expect.any(String),
      },
    ],
  })
  const events = await readEvents(valija.api, id)
  expect(events.map(({ type }) => type)).toEqual(['message.accepted', 'message.delivered', 'message.bounced'])
  expect(events[2]!.data).toMatchObject({
    email: 'gone@example.org',
    domain: 'acme.test',
    tags: ['a'],
    seq: 4,
    reason: 'mailbox_unknown',
    bounce_type: 'hard',
    reply: '550 5.1.1 No such user here',
    enhanced_status: '5.1.1',
    host: 'mx.example.test',
    after_delivery: true,
  })
  expect(await suppressionsOf('gone@example.org')).toMatchObject([
    { reason: 'mailbox_unknown', status: 'active' },
  ])
  await until(
    'its webhooks',
    () => toldOf(id).includes('message.bounced') && toldOf(id).includes('suppression.added'),
  )
})

test.concurrent('the same bounce twice, and at the same moment, is applied once', async () => {
  const { id, mail } = await deliver('twice@example.org')
  const bounce = bounceOf(mail)
  const replies = await Promise.all([1, 2, 3].map(() => handIn(port, mail.from, bounce)))
  expect(replies.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250'])
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'bounced'])
})

test.concurrent('a complaint with every address blacked out is told of, and stops mail of that stream to who complained; the mail stays delivered', async () => {
  const { id, mail } = await deliver('cross@example.org')
  const reply = await handIn(port, mail.from, complaintOf(mail), 'feedback@provider.example.test')
  expect(reply).toMatch(/^250/)
  expect((await readMessage(valija.api, id)).status).toBe('delivered')
  const [, , complained] = await readEvents(valija.api, id)
  expect(complained).toMatchObject({
    type: 'message.complained',
    data: { email: 'cross@example.org', seq: 4, feedback_type: 'abuse', reported_by: 'ProviderFBL/1.0' },
  })
  expect(await suppressionsOf('cross@example.org')).toMatchObject([
    { reason: 'complaint', stream: 'transactional', status: 'active' },
  ])
  // Providers send another report for each click.
  expect(await handIn(port, mail.from, complaintOf(mail))).toMatch(/^250/)
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'complained'])
  await until('its webhook', () => toldOf(id).includes('message.complained'))
})

test.concurrent('at the address that all recipients of a mail share, none of them says anything of another; who quotes a return path is that one', async () => {
  const id = await post(valija.api, valija.mail({ to: ['one@example.org', 'two@example.org'] }))
  const { rfc_message_id } = await untilEnded(valija.api, id)
  const mailTo = (email: string) =>
    peer.mails.find(({ text, to }) => text.includes(rfc_message_id) && to[0] === email)!
  const [one, two] = [mailTo('one@example.org'), mailTo('two@example.org')]
  const [, token] = /^X-Valija-Recipient: (\S+)\r$/m.exec(one.text)!
  const address = `${token}@bounce.example.test`
  for (const forged of [
    complaintOf(one),
    complaintOf(one, 'abuse', 'two@example.org'),
    bounceOf(one, { recipient: 'two@example.org' }),
    bounceOf(one, { recipient: 'two@example.org' }).replaceAll(one.from, 'one@example.org'),
  ])
    expect(await handIn(port, address, forged)).toMatch(/^250/)
  expect((await readMessage(valija.api, id)).status).toBe('delivered')
  expect(await suppressionsOf('two@example.org')).toEqual([])
  expect(await handIn(port, address, bounceOf(two))).toMatch(/^250/)
  const reported = (await readEvents(valija.api, id)).filter(({ type }) => /bounced|complained/.test(type))
  expect(reported.map(({ type, data }) => [type, data.email])).toEqual([
    ['message.bounced', 'two@example.org'],
  ])
})

test.concurrent('what is no final refusal of this mail’s recipient is taken, and changes nothing', async () => {
  const { id, mail } = await deliver('well@example.org')
  const { mail: other } = await deliver('other@example.org')
  const vacation = [
    'From: well@example.org',
    `To: ${mail.from}`,
    'Subject: Out of office',
    'Auto-Submitted: auto-replied',
    '',
    'I am away. 550 5.1.1 No such user here is what I say to the dog.',
  ].join('\r\n')
  for (const report of [
    bounceOf(mail, { action: 'delayed', status: '4.4.1', diagnostic: 'connection timed out' }),
    complaintOf(mail, 'not-spam'),
    complaintOf(mail, 'auth-failure'),
    vacation,
    // Signed for this mail, and about another one: its recipient, its header, both.
    bounceOf(mail, { recipient: 'other@example.org' }),
    bounceOf(mail, { quoted: other }),
    bounceOf(other),
  ]) {
    expect(await handIn(port, mail.from, report)).toMatch(/^250/)
  }
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
  expect((await readMessage(valija.api, id)).status).toBe('delivered')
  expect([await suppressionsOf('well@example.org'), await suppressionsOf('other@example.org')]).toEqual([
    [],
    [],
  ])
})

/** Addresses that only look like ours, of every kind. */
function notOurs(mail: ReceivedMail, count: number): string[] {
  const read = readReturnPath(mail.from, [secret], today)
  if (!read.ok) throw new Error(read.message)
  const { messageId, ordinal, day } = read.value
  const made = (more: Partial<ReturnPath>, by = secret) =>
    returnPath({ messageId, ordinal, day, ...more }, by, 'bounce.example.test')
  const [local = ''] = mail.from.split('@')
  const kinds: ((n: number) => string)[] = [
    // expired, of the future, by another key, altered, cut, of another form, of nobody
    (n) => made({ day: today - 61 - n }),
    (n) => made({ day: today + 2 + n }),
    (n) => made({ ordinal: n }, randomBytes(32)),
    (n) => {
      const at = 2 + (n % 56)
      return `${local.slice(0, at)}${local[at] === 'a' ? 'b' : 'a'}${local.slice(at + 1)}@bounce.example.test`
    },
    (n) => `${local.slice(0, 59 - (n % 50))}@bounce.example.test`,
    (n) => `c-${local.slice(2)}${n % 2 === 0 ? 'a' : ''}@bounce.example.test`,
    (n) => `${['postmaster', 'ann', 'b-', `b-${'a'.repeat(58)}`][n % 4]}@bounce.example.test`,
    (n) => `victim${n}@elsewhere.test`,
  ]
  return Array.from({ length: count }, (_, n) => kinds[n % kinds.length]!(Math.floor(n / kinds.length)))
}

test(
  'forged, expired, altered and foreign addresses are refused at RCPT: nothing changes, and nothing is sent',
  async () => {
    const { id, mail } = await deliver('target@example.org')
    const sentBefore = peer.sessions()
    const addresses = notOurs(mail, scaled(1_000, 80))
    const replies: string[] = []
    for (let at = 0; at < addresses.length; at += 20) {
      const client = await connectSmtp(port)
      await client.say('EHLO forger.test')
      await client.say('MAIL FROM:<victim@elsewhere.test>')
      for (const address of addresses.slice(at, at + 20))
        replies.push(await client.say(`RCPT TO:<${address}>`))
      // Without a recipient there is no mail.
      expect(await client.say('DATA')).toMatch(/^503/)
      client.end()
    }
    expect(new Set(replies)).toEqual(new Set(['550 5.1.1 No such address here']))
    expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
    expect((await readMessage(valija.api, id)).status).toBe('delivered')
    expect(await suppressionsOf('target@example.org')).toEqual([])
    expect(peer.sessions()).toBe(sentBefore)
  },
  timeFor(60_000),
)

test('a peer that goes on guessing is shown out', async () => {
  const client = await connectSmtp(port)
  await client.say('EHLO forger.test')
  await client.say('MAIL FROM:<>')
  const replies = []
  for (let n = 0; n <= 20; n += 1) replies.push(await client.say(`RCPT TO:<guess${n}@bounce.example.test>`))
  expect(replies.at(-1)).toMatch(/^421/)
  expect(await client.reply()).toBe('closed')
})

test('one peer does not take the places of all others', async () => {
  const clients = await inParallel(21, 21, () => connectSmtp(port))
  const greetings = clients.map(({ greeting }) => greeting.slice(0, 3)).sort()
  expect(greetings).toEqual([...Array(20).fill('220'), '421'])
  for (const client of clients) client.end()
  await until('there is room again', async () => {
    const client = await connectSmtp(port)
    client.end()
    return client.greeting.startsWith('220')
  })
})

test('no end of a mail that is none makes a second mail of what follows', async () => {
  const { id, mail } = await deliver('smuggled@example.org')
  for (const ending of ENDINGS.filter((text) => !text.includes('\r\n.\r\n'))) {
    const client = await connectSmtp(port)
    await client.say('EHLO relay.example.test')
    await client.say('MAIL FROM:<>')
    await client.say(`RCPT TO:<${mail.from}>`)
    await client.say('DATA')
    client.write(`Subject: x\r\n\r\nbegin${ending}${SECOND_MAIL.replace(/\r\n\.\r\nQUIT\r\n$/, '')}\r\n.\r\n`)
    expect(await client.reply()).toMatch(/^250/)
    // One reply to one mail: the next is that to what is said next.
    expect(await client.say('NOOP')).toMatch(/^250 2\.0\.0/)
    expect(await client.say('RCPT TO:<a@b.test>')).toMatch(/^503/)
    client.end()
  }
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
})

test('while PostgreSQL is away a report is answered 451, and is applied when its sender comes again', async () => {
  const proxy = await startDatabaseProxy(valija.databaseUrl)
  const smtp = await valija.addSmtp({ DATABASE_URL: proxy.urlFor(valija.databaseUrl) })
  const { id, mail } = await deliver('patience@example.org')
  const bounce = bounceOf(mail)
  proxy.refuse()
  expect(await handIn(smtp.port, mail.from, bounce)).toMatch(/^451 4\.3\.0/)
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
  proxy.mend()
  await until('it is taken', async () => (await handIn(smtp.port, mail.from, bounce)).startsWith('250'))
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'bounced'])
  await smtp.process.kill()
  await proxy.stop()
})

test('kill -9 between the commit and its 250: the report comes again, and is applied once', async () => {
  const proxy = await startDatabaseProxy(valija.databaseUrl)
  const smtp = await valija.addSmtp({ DATABASE_URL: proxy.urlFor(valija.databaseUrl) })
  const { id, mail } = await deliver('crash@example.org')
  const bounce = bounceOf(mail)
  const isCommitted = proxy.holdAfter('apply-report', 'COMMIT')
  const first = handIn(smtp.port, mail.from, bounce)
  await isCommitted
  await smtp.process.kill()
  expect(await first).toBe('closed')
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'bounced'])
  expect(await handIn(port, mail.from, bounce)).toMatch(/^250/)
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'bounced'])
  expect(await suppressionsOf('crash@example.org')).toHaveLength(1)
  await proxy.stop()
})

test('with a certificate it speaks TLS, keeps to its size, and a stop lets a mail that is being received come to its end', async () => {
  const { key, cert } = await certificate()
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-tls-'))
  const env = { VALIJA_TLS_CERT: path.join(folder, 'cert.pem'), VALIJA_TLS_KEY: path.join(folder, 'key.pem') }
  await writeFile(env.VALIJA_TLS_CERT, cert)
  await writeFile(env.VALIJA_TLS_KEY, key)
  const smtp = await valija.addSmtp({ ...env, VALIJA_MAX_MESSAGE_SIZE: '1MiB' })
  const { id, mail } = await deliver('tls@example.org')

  const plain = await connectSmtp(port)
  expect(await plain.say('EHLO relay.example.test')).not.toMatch(/STARTTLS|AUTH/)
  plain.end()
  const large = `${bounceOf(mail)}\r\n${`${'x'.repeat(998)}\r\n`.repeat(2_000)}`
  expect(await handIn(smtp.port, mail.from, large)).toMatch(/^552 5\.3\.4/)

  const idle = await connectSmtp(smtp.port)
  const client = await connectSmtp(smtp.port)
  expect(await client.say('EHLO relay.example.test')).toContain('STARTTLS')
  expect(await client.say('STARTTLS')).toMatch(/^220/)
  expect((await client.encrypt()).getProtocol()).toMatch(/^TLSv1\.[23]$/)
  await client.say('EHLO relay.example.test')
  await client.say('MAIL FROM:<>')
  await client.say(`RCPT TO:<${mail.from}>`)
  expect(await client.say('DATA')).toMatch(/^354/)
  smtp.process.signal('SIGTERM')
  expect(await idle.reply()).toMatch(/^421/)
  expect(await client.say(`${bounceOf(mail)}\r\n.`)).toMatch(/^250/)
  expect(await smtp.process.ended).toEqual({ code: 0, signal: null })
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered', 'bounced'])
  client.end()
  await rm(folder, { recursive: true })
})
