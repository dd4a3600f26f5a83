/**
 * Bounces of mail that went by a relay, in mailboxes of a real Dovecot: applied exactly once, and out of the way only after that, whatever
 * goes wrong in between. Everybody else's mail stays where it is.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type CuttingProxy, startCuttingProxy } from './support/cutting-proxy.ts'
import { type Dovecot, type DovecotUser, startDovecot } from './support/dovecot.ts'
import { eventTypes, post, readMessage, untilEnded } from './support/message-life.ts'
import { bounceOf } from './support/report-mail.ts'
import { type ReceivedMail, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, until } from './support/until.ts'
import { type Call, expectStatus, startValija, type Valija } from './support/valija.ts'

interface MailboxView {
  id: string
  status: string
  error: { code: string; detail: string; remedy: string } | null
  counts: { applied: number; reports: number; ignored: number; other: number }
}

const isAbsent = needsProgram('dovecot')

let peer: SmtpPeer
let dovecot: Dovecot
let valija: Valija
const proxies: CuttingProxy[] = []
const made: { call: Call; id: string }[] = []

beforeAll(async () => {
  if (isAbsent) return
  peer = await startSmtpPeer()
  dovecot = await startDovecot()
  const env = { VALIJA_BOUNCE_DOMAIN: 'bounce.example.test', VALIJA_ALLOW_NETWORKS: '127.0.0.1/32' }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
})
// So that no worker goes on with what an earlier test has left.
afterEach(async () => {
  for (const { call, id } of made.splice(0)) await call('DELETE', `/mailboxes/${id}`)
})
afterAll(async () => {
  if (isAbsent) return
  await valija?.stop()
  for (const proxy of proxies) await proxy.stop()
  await dovecot?.stop()
  await peer?.stop()
})

/** Mails that the relay has taken. */
async function deliver(...to: string[]): Promise<{ id: string; mail: ReceivedMail }[]> {
  const ids = await Promise.all(to.map((address) => post(valija.api, valija.mail({ to: address }))))
  return Promise.all(
    ids.map(async (id) => {
      const message = await untilEnded(valija.api, id)
      expect(message.status).toBe('delivered')
      return { id, mail: peer.mails.find(({ text }) => text.includes(message.rfc_message_id))! }
    }),
  )
}

const deliverOne = async (to: string) => (await deliver(to))[0]!

type Protocol = 'imap' | 'pop3'

async function watch(
  protocol: Protocol,
  { user, password }: DovecotUser,
  { call = valija.api, port = dovecot.ports[protocol] }: { call?: Call; port?: number } = {},
): Promise<string> {
  const login = { name: 'bounces', protocol, host: '127.0.0.1', port, tls: 'none', user, password }
  const { id } = expectStatus(await call<MailboxView>('POST', '/mailboxes', login), 201).json
  made.push({ call, id })
  return id
}

const show = async (id: string, call = valija.api) =>
  expectStatus(await call<MailboxView>('GET', `/mailboxes/${id}`), 200).json

/** A change has it looked at anew, at once. */
const lookNow = async (id: string, call = valija.api) =>
  expectStatus(await call('PATCH', `/mailboxes/${id}`, {}), 200)

const untilBounced = (id: string) =>
  until(`${id} bounced`, async () => (await readMessage(valija.api, id)).status === 'bounced')

const once = ['accepted', 'delivered', 'bounced']
const personal = 'From: mum@home.test\r\nSubject: dinner\r\n\r\nOn Sunday?\r\n'

async function proxyFor(protocol: Protocol): Promise<CuttingProxy> {
  const proxy = await startCuttingProxy(dovecot.ports[protocol])
  proxies.push(proxy)
  return proxy
}

describe.skipIf(isAbsent).each(['imap', 'pop3'] as const)('%s', (protocol) => {
  const isImap = protocol === 'imap'

  test('a bounce is applied and put out of the way; a person’s mail stays, unread', async () => {
    const user = await dovecot.addUser()
    const { id, mail } = await deliverOne(`gone-${protocol}@example.org`)
    await user.deliver(personal)
    await user.deliver(bounceOf(mail))
    const mailbox = await watch(protocol, user)
    await untilBounced(id)
    expect((await readMessage(valija.api, id)).recipients).toMatchObject([
      { status: 'bounced', reason: 'mailbox_unknown', enhanced_status: '5.1.1' },
    ])
    await until('it is out of the way', async () => (await user.mails()).length === 1)
    expect((await user.mails())[0]).toContain('On Sunday?')
    // Dovecot marks as read what POP3 has fetched.
    if (isImap) expect(await user.unseen()).toBe(1)
    expect(await user.mails('Valija')).toHaveLength(isImap ? 1 : 0)
    await until('the look is noted', async () => (await show(mailbox)).status === 'ok')
    const counts = { applied: 1, reports: 0, ignored: 0, other: 1 }
    expect(await show(mailbox)).toMatchObject({ error: null, counts })

    // What comes later: by IMAP it is heard of, by POP3 it is found at the next look. What is known is not read again.
    const [next] = await deliver(`later-${protocol}@example.org`)
    await user.deliver(bounceOf(next!.mail))
    if (!isImap) await lookNow(mailbox)
    await untilBounced(next!.id)
    await until('both are counted', async () => (await show(mailbox)).counts.applied === 2)
    expect((await show(mailbox)).counts).toEqual({ ...counts, applied: 2 })
    expect(await eventTypes(valija.api, id)).toEqual(once)
  })

  test('a connection that is lost in the middle of a mail: told, and applied once when it holds', async () => {
    const user = await dovecot.addUser()
    const { id, mail } = await deliverOne(`cut-${protocol}@example.org`)
    await user.deliver(bounceOf(mail))
    const proxy = await proxyFor(protocol)
    proxy.cutAfter('Final-Recipient')
    const mailbox = await watch(protocol, user, { port: proxy.port })
    await until('it is told', async () => (await show(mailbox)).status === 'failing')
    expect((await show(mailbox)).error).toMatchObject({ code: 'connection_lost', remedy: expect.any(String) })
    expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
    proxy.cutAfter(null)
    await lookNow(mailbox)
    await untilBounced(id)
    await until('it is out of the way', async () => (await user.mails()).length === 0)
    expect(await eventTypes(valija.api, id)).toEqual(once)
  })

  test('applied, then lost before it was put out of the way, then all UIDs made anew: applied once', async () => {
    const user = await dovecot.addUser()
    const { id, mail } = await deliverOne(`uids-${protocol}@example.org`)
    await user.deliver(personal)
    await user.deliver(bounceOf(mail))
    const proxy = await proxyFor(protocol)
    proxy.cutBefore(isImap ? 'UID MOVE' : 'QUIT')
    const mailbox = await watch(protocol, user, { port: proxy.port })
    await untilBounced(id)
    await until('it is told', async () => (await show(mailbox)).status === 'failing')
    expect(await user.mails()).toHaveLength(2)
    await user.forgetUids()
    proxy.cutBefore(null)
    await lookNow(mailbox)
    await until('it is out of the way', async () => (await user.mails()).length === 1)
    expect((await user.mails())[0]).toContain('On Sunday?')
    await until('the look is noted', async () => (await show(mailbox)).status === 'ok')
    expect((await show(mailbox)).counts).toMatchObject({ applied: 1 })
    expect(await eventTypes(valija.api, id)).toEqual(once)
  })

  test('a worker that is killed between applying and putting out of the way: another one goes on, applied once', async () => {
    const user = await dovecot.addUser()
    const { id, mail } = await deliverOne(`kill-${protocol}@example.org`)
    await user.deliver(bounceOf(mail))
    const proxy = await proxyFor(protocol)
    const isHeld = proxy.holdBefore(isImap ? 'UID MOVE' : 'DELE')
    const mailbox = await watch(protocol, user, { port: proxy.port })
    await isHeld
    await valija.workers.shift()!.kill()
    await untilBounced(id)
    expect(await user.mails()).toHaveLength(1)
    // Its lease is over in half a minute; here at once.
    await valija.sql('UPDATE valija.mailboxes SET held_until = now()')
    await valija.addWorker()
    await until('it is out of the way', async () => (await user.mails()).length === 0)
    await until('the look is noted', async () => (await show(mailbox)).status === 'ok')
    expect((await show(mailbox)).counts).toMatchObject({ applied: 1, ignored: 1 })
    expect(await eventTypes(valija.api, id)).toEqual(once)
  })

  test('two that look at one mailbox at the same time apply each bounce once', async () => {
    const user = await dovecot.addUser()
    const sent = await deliver(...Array.from({ length: 12 }, (_, i) => `two-${i}-${protocol}@example.org`))
    await user.deliver(personal)
    for (const { mail } of sent) await user.deliver(bounceOf(mail))
    const [one, two] = await Promise.all([watch(protocol, user), watch(protocol, user)])
    for (const { id } of sent) await untilBounced(id)
    await until('all are out of the way', async () => (await user.mails()).length === 1)
    for (const { id } of sent) expect(await eventTypes(valija.api, id)).toEqual(once)
    const applied = async () => (await show(one)).counts.applied + (await show(two)).counts.applied
    await until('both looks are noted', async () => (await applied()) >= sent.length)
    expect(await applied()).toBe(sent.length)
  })
})

describe.skipIf(isAbsent)('whose mailbox it is', () => {
  test('in another tenant’s a bounce changes nothing and stays; in the installation’s it is applied', async () => {
    const other = await valija.addTenant('other', 'other.test')
    const { id, mail } = await deliverOne('theirs@example.org')
    const bounce = bounceOf(mail)
    const [theirs, ours] = [await dovecot.addUser(), await dovecot.addUser()]
    await theirs.deliver(bounce)
    const mailbox = await watch('imap', theirs, { call: other.call })
    await until('it was read', async () => (await show(mailbox, other.call)).counts.ignored === 1)
    expect(await theirs.mails()).toHaveLength(1)
    expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'delivered'])
    await ours.deliver(bounce)
    const shared = await watch('pop3', ours, { call: valija.admin })
    await untilBounced(id)
    await until('it is noted', async () => (await show(shared, valija.admin)).counts.applied === 1)
  })

  test('a wrong password is told in plain words, and a right one heals it', async () => {
    const user = await dovecot.addUser()
    const mailbox = await watch('imap', { ...user, password: 'wrong' })
    await until('it is told', async () => (await show(mailbox)).status === 'failing')
    expect((await show(mailbox)).error).toMatchObject({ code: 'login_refused' })
    expectStatus(await valija.api('PATCH', `/mailboxes/${mailbox}`, { password: user.password }), 200)
    await until('it is healed', async () => (await show(mailbox)).status === 'ok')
  })

  test('a host in a private network that is not allowed is not connected to', async () => {
    const login = {
      name: 'inside',
      protocol: 'imap',
      host: '127.0.0.2',
      port: dovecot.ports.imap,
      tls: 'none',
    }
    const made = await valija.api<MailboxView>('POST', '/mailboxes', { ...login, user: 'u', password: 'p' })
    const { id } = expectStatus(made, 201).json
    await until('it is told', async () => (await show(id)).status === 'failing')
    expect((await show(id)).error).toMatchObject({ code: 'address_refused' })
    expectStatus(await valija.api('DELETE', `/mailboxes/${id}`), 204)
  })
})
