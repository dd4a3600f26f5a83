/** Addresses that are not sent to any more: by what their server said, or by somebody's word; before, at and after acceptance. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventTypes, post, readAttempts, readEvents, untilEnded } from './support/message-life.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

type Entry = { id: string; email: string; reason: string; status: string; message_id: string | null }

let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija

/** What the peer says to RCPT for this address; all others are taken. */
const refusals = new Map<string, string>()

beforeAll(async () => {
  peer = await startSmtpPeer({
    script: { rcpt: ({ argument }) => refusals.get(/<(.*?)>/.exec(argument)?.[1] ?? '') },
  })
  receiver = await startWebhookReceiver()
  const env = { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
  const hook = { url: receiver.url, events: ['suppression.added', 'suppression.removed'] }
  const made = await valija.api<{ secret: string }>('POST', '/webhooks', hook)
  receiver.secret = expectStatus(made, 201).json.secret
})
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
})

const send = (to: string, more: object = {}) => post(valija.api, valija.mail({ to, ...more }))
const triesFor = (address: string) =>
  peer.transcript.filter((line) => line.includes(`RCPT TO:<${address}>`)).length

/** Its time has come, and the dispatcher knows. */
async function makeDue(id: string): Promise<void> {
  const uuid = [id.replace('msg_', '')]
  await valija.sql('UPDATE valija.messages SET send_at = now() WHERE id = $1::uuid', uuid)
  await valija.sql('UPDATE valija.recipients SET next_attempt_at = now() WHERE message_id = $1::uuid', uuid)
  await valija.sql(
    'UPDATE valija.deliveries SET due_at = now(), starts_at = now() WHERE message_id = $1::uuid',
    uuid,
  )
  await valija.sql(`SELECT pg_notify('valija_wake', 'dispatch:')`)
}

async function entriesFor(email: string): Promise<Entry[]> {
  const answer = await valija.api<{ data: Entry[] }>('GET', `/suppressions?email=${email}`)
  return expectStatus(answer, 200).json.data
}

const toldOf = (email: string) =>
  receiver.calls
    .map(({ json }) => json as { type: string; data: Record<string, unknown> })
    .filter(({ data }) => data.email === email)

test.concurrent('an address whose server denies it is not tried again, is told of, and is sent to again once it is off the list', async () => {
  const address = 'gone@example.org'
  refusals.set(address, '550 5.1.1 no such user here')
  const first = await send(address)
  expect((await untilEnded(valija.api, first)).status).toBe('bounced')

  const answer = await valija.api<{ id: string; status: string; recipients: { status: string }[] }>(
    'POST',
    '/send',
    valija.mail({ to: 'Gone@example.org' }),
  )
  expect(expectStatus(answer, 202).json).toMatchObject({
    status: 'suppressed',
    recipients: [{ status: 'suppressed' }],
  })
  const [entry] = await entriesFor(address)
  expect(entry).toMatchObject({ reason: 'mailbox_unknown', status: 'active', message_id: first })
  expect(await eventTypes(valija.api, answer.json.id)).toEqual(['accepted', 'suppressed'])
  const [, suppressed] = await readEvents(valija.api, answer.json.id)
  expect(suppressed!.data).toMatchObject({ reason: 'mailbox_unknown', suppression_id: entry!.id })
  expect(await readAttempts(valija.api, answer.json.id)).toEqual([])
  expect(triesFor(address)).toBe(1)
  await until('a webhook', () => toldOf(address).length === 1)
  expect(toldOf(address)[0]).toMatchObject({
    type: 'suppression.added',
    data: { suppression_id: entry!.id, message_id: first, reply: '550 5.1.1 no such user here' },
  })

  refusals.delete(address)
  expectStatus(await valija.api('DELETE', `/suppressions/${entry!.id}`), 204)
  expect((await untilEnded(valija.api, await send(address))).status).toBe('delivered')
  await until('another webhook', () => toldOf(address).length === 2)
})

test.concurrent('what waits already when its address is suppressed ends so, without an attempt', async () => {
  const address = 'later@example.org'
  const sendAt = new Date(Date.now() + 3_600_000).toISOString()
  const id = await send(address, { send_at: sendAt })
  expectStatus(await valija.api('POST', '/suppressions', { email: address }), 201)
  await makeDue(id)
  expect(await untilEnded(valija.api, id)).toMatchObject({
    status: 'suppressed',
    recipients: [{ status: 'suppressed', reason: 'manual', attempts: 0, next_attempt_at: null }],
  })
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'scheduled', 'suppressed'])
  const [entry] = await entriesFor(address)
  const [, , suppressed] = await readEvents(valija.api, id)
  expect(suppressed!.data).toMatchObject({ seq: 3, suppression_id: entry!.id })
  expect(triesFor(address)).toBe(0)
})

test.concurrent('an address that took mail lately is not believed to be gone: it is shown, and still sent to', async () => {
  const address = 'flaky@example.org'
  expect((await untilEnded(valija.api, await send(address))).status).toBe('delivered')
  refusals.set(address, '550 5.1.1 no such user here')
  expect((await untilEnded(valija.api, await send(address))).status).toBe('bounced')
  expect(await entriesFor(address)).toMatchObject([{ status: 'quarantined', reason: 'mailbox_unknown' }])
  refusals.delete(address)
  expect((await untilEnded(valija.api, await send(address))).status).toBe('delivered')
  expect(toldOf(address)).toEqual([])
})

test.concurrent.each([
  ['a policy', '550 5.7.1 our policy refuses this'],
  ['a block list', '550 5.1.1 you are listed at spamhaus'],
  ['its content', '554 5.6.0 looks like spam'],
  ['too many mails', '550 5.4.5 daily limit exceeded'],
])('nobody is suppressed for %s', async (_, reply) => {
  const address = `${reply.split(' ')[1]}-${reply.length}@example.org`
  refusals.set(address, reply)
  const id = await send(address)
  await until('an attempt', async () => (await readAttempts(valija.api, id)).length > 0)
  expect(await entriesFor(address)).toEqual([])
})

test.concurrent('a bounce that was simulated suppresses nobody', async () => {
  const address = 'bounced@simulator.valija.test'
  expect((await untilEnded(valija.api, await send(address))).status).toBe('bounced')
  expect((await untilEnded(valija.api, await send(address))).status).toBe('bounced')
  expect(await entriesFor(address)).toEqual([])
})
