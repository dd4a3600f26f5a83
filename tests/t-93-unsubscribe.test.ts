/**
 * Bulk mail and its links from end to end: what arrives can be unsubscribed from by one click (RFC 8058), the link is under the
 * signature, and nothing but a link of ours, posted, changes anything, for that stream and nobody else.
 */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bothPass, type DkimRecords, verifyByMailauth } from './support/dkim-verifiers.ts'
import { client } from './support/http.ts'
import { eventTypes, post, readMessage, untilEnded } from './support/message-life.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, SECRET_KEY, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const signedDomain = 'signed.test'
const from = `News <news@${signedDomain}>`
/** Behind it stands whatever takes TLS off: the test goes to the API itself. */
const publicUrl = 'https://mail.example.test'

let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija
let records: DkimRecords

beforeAll(async () => {
  peer = await startSmtpPeer()
  receiver = await startWebhookReceiver()
  const env = {
    VALIJA_RETRY_SCHEDULE: '1s,1s',
    VALIJA_PUBLIC_URL: publicUrl,
    VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
  }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
  const body = { name: signedDomain, vouched: true, dkim: true }
  type Domain = { records: { purpose: string; name: string; value: string }[] }
  const made = await valija.admin<Domain>('POST', '/domains', body, { 'valija-tenant': valija.tenantId })
  const dkim = expectStatus(made, 201).json.records.filter(({ purpose }) => purpose === 'dkim')
  records = Object.fromEntries(dkim.map(({ name, value }) => [name, value]))
  const hook = { url: receiver.url, events: ['message.unsubscribed', 'suppression.added'] }
  receiver.secret = expectStatus(
    await valija.api<{ secret: string }>('POST', '/webhooks', hook),
    201,
  ).json.secret
})
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
})

const bulk = (to: string | string[], more: object = {}) =>
  valija.mail({ from, to, stream: 'bulk', unsubscribe: true, ...more })

/** What arrived for an address: the one mail. */
const arrivedFor = (address: string) => {
  const [mail, ...others] = peer.mails.filter(({ to }) => to.includes(address))
  if (mail === undefined || others.length > 0) throw new Error(`${others.length + 1} mails for ${address}`)
  return mail.raw
}
const field = (mail: Buffer, name: string) =>
  new RegExp(`^${name}:((?:.|\r\n[ \t])*)\r\n`, 'im')
    .exec(mail.toString('latin1'))?.[1]
    ?.replaceAll('\r\n', '')
    .trim()

/** The path of the link in a mail: what our own server is asked for. */
function linkOf(mail: Buffer): string {
  const [, url] = /^<(https:\/\/[^>]+)>$/.exec(field(mail, 'List-Unsubscribe') ?? '') ?? []
  expect(url?.startsWith(`${publicUrl}/`)).toBe(true)
  return url!.slice(publicUrl.length)
}

/** As a mailbox provider does it: without a key. */
const click = (path: string, url = valija.url) =>
  client(url)('POST', path, 'List-Unsubscribe=One-Click', {
    'content-type': 'application/x-www-form-urlencoded',
  })

async function sendTo(to: string | string[], more: object = {}): Promise<string> {
  const id = await post(valija.api, bulk(to, more))
  expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
  return id
}

const statusOf = async (to: string, stream: string) => {
  const answer = await valija.api<{ recipients: { status: string }[] }>(
    'POST',
    '/send',
    valija.mail({ to, stream }),
  )
  return expectStatus(answer, 202).json.recipients[0]!.status
}

describe('what arrives', () => {
  test('has a link of its own for each recipient, under a signature that any verifier takes', async () => {
    const to = ['ann@example.org', 'bob@example.org', 'carl@example.org']
    await sendTo(to)
    const mails = to.map(arrivedFor)
    expect(new Set(mails.map(linkOf)).size).toBe(3)
    expect(await verifyByMailauth(mails, records)).toEqual([bothPass, bothPass, bothPass])
    for (const mail of mails) {
      expect(field(mail, 'List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click')
      const names = / h=([^;]+);/
        .exec(mail.toString('latin1'))![1]!
        .replace(/\s/g, '')
        .toLowerCase()
        .split(':')
      expect(names).toEqual(expect.arrayContaining(['list-unsubscribe', 'list-unsubscribe-post']))
      const altered = mail.toString('latin1').replace(/^(List-Unsubscribe: <.*)>/m, '$1x>')
      expect(await verifyByMailauth([Buffer.from(altered, 'latin1')], records)).not.toEqual([bothPass])
    }
  })

  test('is the same at every try, and as GET /messages/:id/raw shows it', async () => {
    const to = 'retry@example.org'
    const replies = ['451 4.3.0 once more']
    peer.script.body = ({ to: [address] }) => (address === to ? replies.shift() : undefined)
    const id = await sendTo(to)
    const sent = [...peer.refused, ...peer.mails].filter((mail) => mail.to.includes(to))
    const raw = await valija.api('GET', `/messages/${id}/raw`)
    expect(sent.map(({ text }) => text)).toEqual([raw.text, raw.text])
  })

  test('has it too where the mail came ready-made', async () => {
    const to = 'raw@example.org'
    const raw = Buffer.from(`From: ${from}\nSubject: raw\n\nHello\n`).toString('base64')
    const id = await post(valija.api, { from, to, raw, stream: 'bulk', unsubscribe: true })
    await untilEnded(valija.api, id)
    expect(await verifyByMailauth([arrivedFor(to)], records)).toEqual([bothPass])
    expect((await click(linkOf(arrivedFor(to)))).status).toBe(200)
  })

  test('has the sender’s own way, the same for all, where that is wanted', async () => {
    const to = ['own1@example.org', 'own2@example.org']
    await sendTo(to, { unsubscribe: { url: 'https://acme.test/u?a=1', mailto: 'stop@acme.test' } })
    const [first, second] = to.map(arrivedFor)
    expect(first).toEqual(second)
    expect(field(first!, 'List-Unsubscribe')).toBe('<https://acme.test/u?a=1>, <mailto:stop@acme.test>')
    expect(field(first!, 'List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click')
    await sendTo('own3@example.org', { unsubscribe: { mailto: 'stop@acme.test' } })
    expect(field(arrivedFor('own3@example.org'), 'List-Unsubscribe')).toBe('<mailto:stop@acme.test>')
    expect(field(arrivedFor('own3@example.org'), 'List-Unsubscribe-Post')).toBeUndefined()
  })

  test('has nothing of it unasked', async () => {
    await sendTo('none@example.org', { unsubscribe: undefined })
    expect(field(arrivedFor('none@example.org'), 'List-Unsubscribe')).toBeUndefined()
  })
})

test('one click stops this stream for this address: also what waits, but no code that the same person waits for', async () => {
  const [to, other] = ['dora@example.org', 'eve@example.org']
  const id = await sendTo([to, other])
  const sendAt = new Date(Date.now() + 4_000).toISOString()
  const waiting = await post(valija.api, bulk(to, { send_at: sendAt }))
  const path = linkOf(arrivedFor(to))
  const answer = await click(path)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('set-cookie')).toBeNull()
  expect(await statusOf(to, 'bulk')).toBe('suppressed')
  expect(await statusOf(to, 'transactional')).toBe('queued')
  expect(await statusOf(other, 'bulk')).toBe('queued')
  expect(await untilEnded(valija.api, waiting)).toMatchObject({
    status: 'suppressed',
    recipients: [{ reason: 'unsubscribe' }],
  })
  expect((await eventTypes(valija.api, id)).filter((type) => type === 'unsubscribed')).toHaveLength(1)
  const told = () =>
    receiver.calls
      .map(({ json }) => json as { type: string; data: Record<string, unknown> })
      .filter(({ data }) => data.email === to)
  await until('two webhooks', () => told().length === 2)
  await click(path)
  expect(
    told()
      .map(({ type }) => type)
      .sort(),
  ).toEqual(['message.unsubscribed', 'suppression.added'])
  expect(told()[0]!.data).toMatchObject({ message_id: id, stream: 'bulk' })
})

test('a reader who opens the link sees a page that asks; nothing is changed until its button is pressed', async () => {
  const to = 'fay@example.org'
  await sendTo(to)
  const path = linkOf(arrivedFor(to))
  const page = await client(valija.url)('GET', path)
  expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none';/)
  expect(await statusOf(to, 'bulk')).toBe('queued')
  const [, name, value] = /<input type="hidden" name="([^"]+)" value="([^"]+)">/.exec(page.text)!
  const pressed = await client(valija.url)('POST', path, `${name}=${value}`, {
    'content-type': 'application/x-www-form-urlencoded',
    origin: publicUrl,
  })
  expect(pressed.text).toContain('You are unsubscribed')
  expect(await statusOf(to, 'bulk')).toBe('suppressed')
})

test('a link is good after the secret key was changed, for as long as the old one is configured', async () => {
  const to = 'gus@example.org'
  await sendTo(to)
  const path = linkOf(arrivedFor(to))
  const later = await valija.addApi({
    VALIJA_SECRET_KEY: `the-next-secret-key-0123456789abcdef,${SECRET_KEY}`,
  })
  expect((await click(path, later.url)).status).toBe(200)
  expect(await statusOf(to, 'bulk')).toBe('suppressed')
})

test('1,000 forged, altered and other tenants’ links change nothing, and are told nothing', async () => {
  const [victim, own] = ['hal@example.org', 'ida@example.org']
  await sendTo(victim)
  const path = linkOf(arrivedFor(victim))
  const stranger = await valija.addTenant('stranger', 'stranger.test')
  await untilEnded(stranger.call, await post(stranger.call, { ...bulk(own), from: 'a@stranger.test' }))
  const foreign = linkOf(arrivedFor(own))
  const [base, token] = [path.slice(0, path.lastIndexOf('/') + 1), path.slice(path.lastIndexOf('/') + 1)]
  const other = foreign.slice(base.length)
  const octets = Buffer.from(token, 'base64url')
  const forge = (i: number): string => {
    const at = i % token.length
    const flipped = Buffer.from(octets)
    flipped[i % octets.length]! ^= 1 << (i % 8)
    const forgeries = [
      () => flipped.toString('base64url'),
      () => token.slice(0, at) + token.slice(at + 1),
      () => other.slice(0, at + 1) + token.slice(at + 1),
      () => randomBytes(octets.length).toString('base64url'),
      () => `${token.slice(0, at)}/${token.slice(at)}`,
    ]
    return forgeries[i % forgeries.length]!()
  }
  const forged = Array.from({ length: 1_000 }, (_, i) => forge(i)).filter(
    (one) => one !== token && one !== other,
  )
  expect(forged.length).toBeGreaterThan(990)
  const before = await counts()
  const texts = new Map<number, Set<string>>()
  for (let i = 0; i < forged.length; i += 50) {
    const answers = await Promise.all(forged.slice(i, i + 50).map((one) => click(`${base}${one}`)))
    for (const { status, text, json } of answers) {
      const shown = status === 404 ? text : (json as { code: string }).code
      texts.set(status, (texts.get(status) ?? new Set()).add(shown))
    }
  }
  expect([...texts.keys()].sort()).toEqual([404, 429])
  for (const told of texts.values()) expect(told.size).toBe(1)
  expect(await counts()).toEqual(before)
  // And the right one is not in their way.
  expect((await click(path)).status).toBe(200)
  expect(await statusOf(victim, 'bulk')).toBe('suppressed')
  const { recipients } = await readMessage(valija.api, await post(valija.api, bulk(own)))
  expect(recipients[0]!.status).not.toBe('suppressed')
})

async function counts() {
  const [row] = await valija.sql(`SELECT (SELECT count(*) FROM valija.suppressions) AS suppressions,
    (SELECT count(*) FROM valija.events WHERE type IN ('message.unsubscribed', 'suppression.added')) AS events,
    (SELECT count(unsubscribed_at) FROM valija.recipients) AS marks`)
  return row
}
