/** What a receiving server answers decides a recipient's fate, and nobody else's: states, attempts and events, end to end. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  eventTypes,
  post,
  type RecipientView,
  readAttempts,
  readEvents,
  readMessage,
  untilEnded,
} from './support/message-life.ts'
import { drop, type Moment, type Reaction, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

let peer: SmtpPeer
let valija: Valija

/** What the peer does at a phase for a recipient, once each: `rcpt slow@example.org` → reaction. */
const once = new Map<string, Reaction>()

function scripted(phase: string) {
  return ({ to, argument }: Moment): Reaction | undefined => {
    const address = phase === 'rcpt' ? /<(.*?)>/.exec(argument)?.[1] : to[0]
    const reaction = once.get(`${phase} ${address}`)
    once.delete(`${phase} ${address}`)
    return reaction
  }
}

beforeAll(async () => {
  peer = await startSmtpPeer()
  for (const phase of ['rcpt', 'data', 'body'] as const) peer.script[phase] = scripted(phase)
  const env = { VALIJA_RETRY_SCHEDULE: '1s,1s' }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const arrivals = (address: string) => peer.mails.filter(({ to }) => to.includes(address)).length

test.concurrent('a 4xx defers, the next try delivers, and both are on record with the next time told', async () => {
  const address = 'later@example.org'
  once.set(`rcpt ${address}`, '450 4.3.2 please come again')
  const id = await post(valija.api, valija.mail({ to: address }))
  const deferred = await until('deferred', async () => {
    const [recipient] = (await readMessage(valija.api, id)).recipients
    return recipient!.attempts > 0 ? recipient : null
  })
  if (deferred.status === 'deferred')
    expect(Date.parse(deferred.next_attempt_at!)).toBeGreaterThan(Date.now() - 5_000)

  expect(await untilEnded(valija.api, id)).toMatchObject({
    status: 'delivered',
    recipients: [{ status: 'delivered', attempts: 2, reason: null, next_attempt_at: null }],
  })
  expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'deferred', 'delivered'])
  const [, event] = await readEvents(valija.api, id)
  expect(event!.data).toMatchObject({ reason: 'throttled', reply: '450 4.3.2 please come again', attempt: 1 })
  expect(event!.data.next_attempt_at).toMatch(/Z$/)
  const attempts = (await readAttempts(valija.api, id)).map(({ number, outcome, phase }) => [
    number,
    outcome,
    phase,
  ])
  expect(attempts).toEqual([
    [1, 'deferred', 'rcpt'],
    [2, 'delivered', 'body'],
  ])
  expect(arrivals(address)).toBe(1)
})

test.concurrent('a 5xx at RCPT bounces that recipient only, at once and for good', async () => {
  const to = ['good@example.org', 'nobody@example.org', 'fine@example.org']
  once.set('rcpt nobody@example.org', '550 5.1.1 no such user here')
  const id = await post(valija.api, valija.mail({ to }))
  const message = await untilEnded(valija.api, id)

  expect(message.status).toBe('partially_delivered')
  const fates = Object.fromEntries(message.recipients.map((recipient) => [recipient.email, brief(recipient)]))
  expect(fates).toEqual({
    'good@example.org': 'delivered null',
    'nobody@example.org': 'bounced mailbox_unknown',
    'fine@example.org': 'delivered null',
  })
  expect(await eventTypes(valija.api, id, 'nobody@example.org')).toEqual(['accepted', 'bounced'])
  expect(await eventTypes(valija.api, id, 'fine@example.org')).toEqual(['accepted', 'delivered'])
  const bounce = (await readEvents(valija.api, id, 'nobody@example.org'))[1]!
  expect(bounce.data).toMatchObject({ bounce_type: 'hard', enhanced_status: '5.1.1' })
  expect(to.map(arrivals)).toEqual([1, 0, 1])
})

test.concurrent.each([
  ['at RCPT', 'rcpt', false],
  ['at DATA', 'data', false],
  ['after the final dot', 'body', true],
] as const)(
  'a connection lost %s defers, and the next try delivers; only after the dot it is uncertain',
  async (_, phase, isUncertain) => {
    const address = `lost-at-${phase}@example.org`
    once.set(`${phase} ${address}`, drop())
    const id = await post(valija.api, valija.mail({ to: address }))
    expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })

    const [first, second] = await readAttempts(valija.api, id)
    expect(first).toMatchObject({
      outcome: 'deferred',
      reason: 'network',
      uncertain: isUncertain,
      reply: expect.any(String),
    })
    expect(second).toMatchObject({ number: 2, outcome: 'delivered', uncertain: false })
    expect(await eventTypes(valija.api, id)).toEqual(['accepted', 'deferred', 'delivered'])
    expect(arrivals(address)).toBe(1)
  },
)

test.concurrent('a 421 ends the conversation, not the mail', async () => {
  const address = 'busy@example.org'
  once.set(`rcpt ${address}`, drop('421 4.3.2 shutting down'))
  const id = await post(valija.api, valija.mail({ to: address }))
  expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
  const [first] = await readAttempts(valija.api, id)
  expect(first).toMatchObject({ outcome: 'deferred', reply: '421 4.3.2 shutting down', uncertain: false })
  expect(arrivals(address)).toBe(1)
})

test.concurrent('what is never taken is tried until its time is over, and then failed as expired', async () => {
  const address = 'never@example.org'
  const refuse = () => once.set(`rcpt ${address}`, '451 4.3.0 not now')
  refuse()
  const timer = setInterval(refuse, 100)
  try {
    // Sixty seconds are the shortest a sender may ask for; the clock of the database is moved instead of waited for.
    const id = await post(valija.api, valija.mail({ to: address, ttl_seconds: 60 }))
    await until('a first try', async () => (await readAttempts(valija.api, id)).length > 0)
    await valija.sql(`UPDATE valija.deliveries AS d SET expires_at = now() - interval '1 s' FROM valija.recipients AS r
      WHERE r.id = d.recipient_id AND r.email = '${address}'`)
    const message = await untilEnded(valija.api, id)
    expect(message.recipients[0]).toMatchObject({ status: 'failed', reason: 'expired' })
    expect((await eventTypes(valija.api, id)).at(-1)).toBe('failed')
    expect(arrivals(address)).toBe(0)
  } finally {
    clearInterval(timer)
  }
})

function brief({ status, reason }: RecipientView): string {
  return `${status} ${reason}`
}
