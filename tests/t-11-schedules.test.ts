/** What can still be done to an accepted message while a worker is at it: stopped, moved, sent again; and who is told when it is late. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  eventTypes,
  type MessageView,
  post,
  readEvents,
  readMessage,
  untilEnded,
} from './support/message-life.ts'
import type { ProblemBody } from './support/messages.ts'
import { type SmtpPeer, startSmtpPeer, when } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

/** Conversations of the worker; it leases four times as many mails. */
const CONVERSATIONS = 4

let peer: SmtpPeer
let valija: Valija
/** Final dots that wait for their reply, by the domain that they were for. */
const dots: string[] = []
const held = new Map<string, PromiseWithResolvers<void>>()

const domainOf = (address = '') => address.slice(address.indexOf('@') + 1)

beforeAll(async () => {
  peer = await startSmtpPeer({
    script: {
      rcpt: ({ argument }) => (argument.includes('@later.test') ? '451 4.7.1 try again later' : undefined),
      body: ({ to }) => {
        const hold = held.get(domainOf(to[0]))
        if (hold === undefined) return undefined
        dots.push(domainOf(to[0]))
        return when(hold.promise, '250 2.0.0 taken')
      },
    },
  })
  valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    env: { VALIJA_WORKER_CONCURRENCY: `${CONVERSATIONS}` },
  })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const send = (to: string | string[], more: object = {}) => post(valija.api, valija.mail({ to, ...more }))
const cancel = <T = MessageView>(id: string) => valija.api<T>('POST', `/messages/${id}/cancel`)
const mailsFor = (domain: string) => peer.mails.filter(({ to }) => domainOf(to[0]) === domain)

const countOf = ({ recipients }: MessageView, status: string) =>
  recipients.filter((recipient) => recipient.status === status).length

/** Keeps replies to final dots for a domain back; resolves, by its `dots`, when so many wait. */
function hold(domain: string) {
  const released = Promise.withResolvers<void>()
  held.set(domain, released)
  return {
    dots: (count: number) =>
      until(
        `${count} final dots for ${domain}`,
        () => dots.filter((name) => name === domain).length === count,
      ),
    release: () => released.resolve(),
  }
}

test('a mail past its final dot is not called cancelled: 409, and it is delivered', async () => {
  const site = hold('past.test')
  const id = await send('ann@past.test')
  await site.dots(1)
  const refused = expectStatus(await cancel<ProblemBody>(id), 409).json
  expect(refused).toMatchObject({ code: 'already_sending', errors: [{ path: '/recipients/0' }] })
  site.release()
  expect((await untilEnded(valija.api, id)).status).toBe('delivered')
})

test('of a message that a worker holds all are stopped that wait in its line; those past the dot arrive, and no other', async () => {
  const site = hold('line.test')
  const to = Array.from({ length: 3 * CONVERSATIONS }, (_, index) => `r${index}@line.test`)
  const id = await send(to)
  await site.dots(CONVERSATIONS)
  // A busy worker may need longer than it is given at a time.
  const shown = await until('all that waits is given back', async () => {
    const { json } = expectStatus(await cancel(id), 200)
    return countOf(json, 'cancelled') >= 2 * CONVERSATIONS && json
  })
  expect([countOf(shown, 'cancelled'), countOf(shown, 'sending')]).toEqual([2 * CONVERSATIONS, CONVERSATIONS])
  site.release()
  const ended = await untilEnded(valija.api, id)
  expect(ended.status).toBe('partially_delivered')
  expect(mailsFor('line.test')).toHaveLength(CONVERSATIONS)
  const types = await eventTypes(valija.api, id)
  expect(types.filter((type) => type === 'cancelled')).toHaveLength(2 * CONVERSATIONS)
})

test('a mail of next week that is moved to now goes now, and is dated so', async () => {
  const sendAt = new Date(Date.now() + 7 * 86_400_000)
  const id = await send('ann@moved.test', { send_at: sendAt.toISOString() })
  expectStatus(await valija.api('PATCH', `/messages/${id}`, { send_at: null }), 200)
  expect((await untilEnded(valija.api, id)).status).toBe('delivered')
  const [mail] = mailsFor('moved.test')
  const date = Date.parse(/^Date: (.*)$/m.exec(mail!.text)?.[1] ?? '')
  expect(Math.abs(date - Date.now())).toBeLessThan(3_600_000)
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'scheduled', 'scheduled', 'delivered'])
})

test('a mail that is not handed off in time is told of once, with what it waits for, and can be stopped still', async () => {
  const id = await send('ann@later.test', { notify_if_not_handed_off_within: 2 })
  const types = ['message.accepted', 'message.deferred', 'message.late', 'message.cancelled']
  const told = await until('it is told of', async () => {
    const events = await readEvents(valija.api, id)
    return events.length >= 3 && events
  })
  expect(told.find(({ type }) => type === 'message.late')?.data).toMatchObject({
    not_handed_off_within: 2,
    status: expect.stringMatching(/^(?:queued|sending|deferred)$/),
    waits_for: expect.any(String),
    explanation: expect.any(String),
    remedy: expect.any(String),
  })
  expect((await readMessage(valija.api, id)).status).toBe('deferred')
  expect(expectStatus(await cancel(id), 200).json.status).toBe('cancelled')
  const events = await readEvents(valija.api, id)
  expect(events.map(({ type }) => type).sort()).toEqual([...types].sort())
  const numbers = events.map(({ data }) => data.seq)
  expect(numbers).toEqual([...numbers].sort((one, other) => one - other))
  expect(new Set(numbers).size).toBe(4)
})

test('a message is sent again as another one; the body of a sensitive one is gone with its delivery', async () => {
  const first = await send(['ann@again.test', 'bob@again.test'])
  await untilEnded(valija.api, first)
  const body = { recipients: ['ann@again.test'] }
  const again = expectStatus(await valija.api<MessageView>('POST', `/messages/${first}/resend`, body), 202)
    .json.id
  const ended = await untilEnded(valija.api, again)
  expect(ended).toMatchObject({ status: 'delivered', recipients: [{ email: 'ann@again.test' }] })
  const ids = mailsFor('again.test').map(({ text }) => /^Message-ID: (.*?)\r?$/im.exec(text)?.[1])
  expect(new Set(ids)).toEqual(
    new Set([(await readMessage(valija.api, first)).rfc_message_id, ended.rfc_message_id]),
  )
  expect(ids).toHaveLength(3)

  const secret = await send('ann@secret.test', { sensitive: true })
  expect((await untilEnded(valija.api, secret)).status).toBe('delivered')
  expect((await valija.api('GET', `/messages/${secret}/raw`)).status).toBe(404)
  const refused = await valija.api<ProblemBody>('POST', `/messages/${secret}/resend`)
  expect([refused.status, refused.json.code]).toEqual([409, 'conflict'])
  expect(
    await valija.sql(`SELECT FROM valija.bodies WHERE message_id = $1`, [secret.replace('msg_', '')]),
  ).toEqual([])
})
