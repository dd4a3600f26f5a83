/**
 * Webhooks as their receivers see them, checked by the reference library of Standard Webhooks: every event is told, again
 * after a failure and after the death of a worker, under one id, and to whom it concerns. (t-64: to nobody inside the network.)
 */

import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  type AcceptedMail,
  endOfMail,
  type Listed,
  type MailEvent,
  readAll,
  sendMail,
} from './support/messages.ts'
import { untilShown } from './support/shown-events.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import {
  type ReceivedWebhook,
  startWebhookReceiver,
  type WebhookReceiver,
} from './support/webhook-receiver.ts'

type Told = ReceivedWebhook<MailEvent>
type Try = {
  id: string
  event_id: string
  type: string
  number: number
  outcome: string
  status_code: number | null
  error: string | null
  started_at: string
  next_try_at: string | null
}
type Endpoint = { id: string; secret: string; receiver: WebhookReceiver }
type WebhookView = {
  id: string
  secret: string
  status: string
  disabled_reason: string | null
  events: string[]
}

/**
 * How soon a healthy endpoint is told, whatever the others do; the promise is 1 s on a machine that has time. Whoever waited for one
 * of the others would be told after 8 s or more (the slow one's answer; the silent one's end after 15 s), and whoever was told by
 * the sweep alone after 15 s: on a machine that has no time this is still well before both.
 */
const PROMPT_MS = 6_000
const FIRST_RETRY_MS = 5_000
const SECOND_RETRY_MS = 5 * 60_000

let valija: Valija
const endpoints: Endpoint[] = []

beforeAll(async () => {
  const env = { VALIJA_ALLOW_NETWORKS: '127.0.0.1/32' }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', env })
})

/** An endpoint hears of everything, so each test takes its own away again. */
afterEach(async () => {
  for (const { id, receiver } of endpoints.splice(0)) {
    await valija.api('DELETE', `/webhooks/${id}`)
    await receiver.stop()
  }
})

afterAll(() => valija?.stop())

async function addEndpoint(fields: object = {}, url?: string): Promise<Endpoint> {
  const receiver = await startWebhookReceiver()
  const body = { url: url ?? receiver.url, events: ['*'], ...fields }
  const { json } = expectStatus(await valija.api<WebhookView>('POST', '/webhooks', body), 201)
  expect(json).toMatchObject({
    status: 'enabled',
    events: body.events,
    secret: expect.stringMatching(/^whsec_/),
  })
  receiver.secret = json.secret
  const endpoint = { id: json.id, secret: json.secret, receiver }
  endpoints.push(endpoint)
  return endpoint
}

/** What came, after the reference library has found each signature right. */
function verified({ secret, receiver }: Endpoint): Told[] {
  const library = new Webhook(secret)
  return receiver.calls.map((call) => {
    const told = library.verify(call.text, call.headers as Record<string, string>) as MailEvent
    expect(told).toEqual(call.json)
    expect(told.id).toBe(call.id)
    return call as unknown as Told
  })
}

const typesAt = (endpoint: Endpoint): string[] =>
  verified(endpoint)
    .map(({ json }) => json.type)
    .sort()

const tries = ({ id }: { id: string }) => readAll<Try>(valija.api, `/webhooks/${id}/deliveries`)

/** One simulated mail, delivered by now unless it is to be sent later: two events, and none of them in a later test. */
async function sendOne(fields: Record<string, unknown> = {}): Promise<AcceptedMail> {
  const mail = await sendMail(valija.api, valija.mail({ to: 'delivered@simulator.valija.test', ...fields }))
  if (fields.send_at === undefined) await endOfMail(valija.api, mail.id)
  return mail
}

/** Everything that waits is due now, as if its time had come; whoever sleeps is woken by way of the API. */
async function letTimePass(endpoint: Endpoint): Promise<void> {
  await valija.sql('UPDATE valija.webhook_outbox SET due_at = now()')
  expectStatus(await valija.api('PATCH', `/webhooks/${endpoint.id}`, { status: 'enabled' }), 200)
}

describe('an endpoint', () => {
  test('is told every event of a message once, signed, as GET /events shows it', async () => {
    const endpoint = await addEndpoint()
    const mail = await sendOne({ tags: ['größe'], metadata: { order: '4711' } })
    await endpoint.receiver.received(2)
    const events = await readAll<MailEvent>(valija.api, `/messages/${mail.id}/events`)
    const told = verified(endpoint)
    expect(told.map(({ json }) => json).sort((a, b) => a.data.seq - b.data.seq)).toEqual(events)
    expect(told.every(({ headers }) => headers['content-type']?.startsWith('application/json'))).toBe(true)
    const made = await until('both on record', async () =>
      (await tries(endpoint)).length === 2 ? tries(endpoint) : null,
    )
    expect(made.map(({ event_id }) => event_id).sort()).toEqual(events.map(({ id }) => id).sort())
    for (const entry of made)
      expect(entry).toMatchObject({
        number: 1,
        outcome: 'delivered',
        status_code: 200,
        error: null,
        next_try_at: null,
      })
  })

  test('is told of an acceptance at once, also when nothing else happens to the mail for long', async () => {
    const endpoint = await addEndpoint({
      events: ['message.accepted', 'message.scheduled', 'message.suppressed'],
    })
    const startedAt = performance.now()
    await sendOne({ send_at: new Date(Date.now() + 3_600_000).toISOString() })
    await sendOne({ to: 'suppressed@simulator.valija.test' })
    await endpoint.receiver.received(4)
    expect(performance.now() - startedAt).toBeLessThan(PROMPT_MS)
    expect(typesAt(endpoint)).toEqual([
      'message.accepted',
      'message.accepted',
      'message.scheduled',
      'message.suppressed',
    ])
  })

  test('whose secret is another one cannot be deceived', async () => {
    const endpoint = await addEndpoint()
    await sendOne()
    const [call] = await endpoint.receiver.received(1)
    const other = new Webhook(`whsec_${Buffer.alloc(24, 1).toString('base64')}`)
    expect(() => other.verify(call!.text, call!.headers as Record<string, string>)).toThrow()
    const altered = call!.text.replace('message.', 'message:')
    expect(() =>
      new Webhook(endpoint.secret).verify(altered, call!.headers as Record<string, string>),
    ).toThrow()
  })

  test('hears only of the events, domains and tags that it asked for', async () => {
    const only = await addEndpoint({ events: ['message.delivered'] })
    const named = await addEndpoint({ events: ['message.attempted'] })
    const both = await addEndpoint({ events: ['*', 'message.attempted'] })
    const tagged = await addEndpoint({ tags: ['receipt', 'other'] })
    const elsewhere = await addEndpoint({ domains: ['elsewhere.test'] })
    const here = await addEndpoint({ domains: ['ACME.test'], events: ['message.accepted'] })
    await sendOne({ tags: ['news'] })
    await sendOne({ tags: ['receipt', 'x'] })
    await Promise.all([only.receiver.received(2), named.receiver.received(2), both.receiver.received(6)])
    await Promise.all([tagged.receiver.received(2), here.receiver.received(2)])
    expect(typesAt(only)).toEqual(['message.delivered', 'message.delivered'])
    expect(typesAt(named)).toEqual(['message.attempted', 'message.attempted'])
    expect(new Set(typesAt(both))).toEqual(
      new Set(['message.accepted', 'message.attempted', 'message.delivered']),
    )
    expect(verified(tagged).every(({ json }) => (json.data.tags as string[]).includes('receipt'))).toBe(true)
    expect(typesAt(tagged)).toEqual(['message.accepted', 'message.delivered'])
    expect(typesAt(here)).toEqual(['message.accepted', 'message.accepted'])
    await until(
      'nothing left to tell',
      async () => (await valija.sql('SELECT FROM valija.webhook_outbox')).length === 0,
    )
    expect(elsewhere.receiver.calls).toEqual([])
  })

  test('of another tenant hears nothing', async () => {
    const other = await valija.addTenant('other', 'beta.test')
    const receiver = await startWebhookReceiver()
    const made = await other.call<WebhookView>('POST', '/webhooks', { url: receiver.url, events: ['*'] })
    const mine = await addEndpoint()
    await sendOne()
    await mine.receiver.received(2)
    await sendMail(other.call, {
      ...valija.mail({ to: 'delivered@simulator.valija.test' }),
      from: 'x@beta.test',
    })
    await receiver.received(2)
    expect(receiver.calls.every(({ json }) => (json as MailEvent).data.domain === 'beta.test')).toBe(true)
    await other.call('DELETE', `/webhooks/${made.json.id}`)
    await receiver.stop()
  })
})

describe('a failure', () => {
  test('is tried again after 5 s, then after 5 min, under the same id, and every try is on record', async () => {
    const endpoint = await addEndpoint({ events: ['message.delivered'] })
    const { receiver } = endpoint
    receiver.answers = [
      { status: 500, body: 'out of order' },
      { status: 302, headers: { location: 'http://127.0.0.1:1/' } },
    ]
    await sendOne()
    await receiver.received(2, FIRST_RETRY_MS + 10_000)
    const waited = receiver.calls[1]!.atMs - receiver.calls[0]!.atMs
    expect(waited).toBeGreaterThanOrEqual(FIRST_RETRY_MS - 100)
    expect(waited).toBeLessThan(FIRST_RETRY_MS + 5_000)
    const [second, first] = await until('two tries', async () =>
      (await tries(endpoint)).length === 2 ? tries(endpoint) : null,
    )
    expect(first).toMatchObject({
      number: 1,
      outcome: 'failed',
      status_code: 500,
      response_start: 'out of order',
    })
    expect(second).toMatchObject({ number: 2, outcome: 'failed', status_code: 302 })
    const nextInMs = Date.parse(second!.next_try_at!) - Date.parse(second!.started_at)
    expect(nextInMs).toBeGreaterThanOrEqual(SECOND_RETRY_MS)
    expect(nextInMs).toBeLessThan(SECOND_RETRY_MS * 1.2)
    await letTimePass(endpoint)
    await receiver.received(3)
    expect(new Set(verified(endpoint).map(({ id }) => id)).size).toBe(1)
    // Signed anew each time: a receiver refuses what is older than five minutes.
    expect(new Set(receiver.calls.map(({ headers }) => headers['webhook-signature'])).size).toBeGreaterThan(1)
    const all = await until('three tries', async () =>
      (await tries(endpoint)).length === 3 ? tries(endpoint) : null,
    )
    expect(all[0]).toMatchObject({ number: 3, outcome: 'delivered', next_try_at: null })
  })

  test('with Retry-After waits as long as it asks', async () => {
    const endpoint = await addEndpoint({ events: ['message.delivered'] })
    endpoint.receiver.answers = [{ status: 429, headers: { 'retry-after': '3600' } }]
    await sendOne()
    const [made] = await until('a try', async () =>
      (await tries(endpoint)).length === 1 ? tries(endpoint) : null,
    )
    const waitMs = Date.parse(made!.next_try_at!) - Date.parse(made!.started_at)
    expect(waitMs).toBeGreaterThanOrEqual(3_600_000)
    expect(waitMs).toBeLessThan(3_700_000)
  })

  test('410 disables the endpoint, and the others hear webhook.disabled', async () => {
    const gone = await addEndpoint({ events: ['message.delivered'] })
    const watching = await addEndpoint({ events: ['webhook.disabled'] })
    gone.receiver.answers = () => ({ status: 410 })
    await sendOne()
    const [told] = await watching.receiver.received(1)
    expect(verified(watching)[0]!.json).toMatchObject({
      type: 'webhook.disabled',
      data: { webhook_id: gone.id },
    })
    expect(told!.isVerified).toBe(true)
    const view = await valija.api<WebhookView>('GET', `/webhooks/${gone.id}`)
    expect(view.json).toMatchObject({ status: 'disabled', disabled_reason: expect.any(String) })
    await sendOne()
    await untilShown(valija.sql)
    const { data } = expectStatus(
      await valija.api<Listed<MailEvent>>('GET', '/events?type=webhook.disabled'),
      200,
    ).json
    expect(data.at(-1)!.data.webhook_id).toBe(gone.id)
    expect(gone.receiver.calls).toHaveLength(1)
    // What it missed is kept: it goes on where it stopped.
    gone.receiver.answers = []
    await letTimePass(gone)
    await gone.receiver.received(2)
  })

  test('of one endpoint delays no other: those that hang, reset or answer in drops', async () => {
    const troubled = await Promise.all(Array.from({ length: 4 }, () => addEndpoint()))
    const [hanging, dropping, slow, refusing] = troubled as [Endpoint, Endpoint, Endpoint, Endpoint]
    hanging.receiver.answers = () => ({ status: 'silence' })
    dropping.receiver.answers = () => ({ status: 'drop' })
    slow.receiver.answers = () => ({ delayMs: 8_000 })
    refusing.receiver.answers = () => ({ status: 503, body: 'x'.repeat(1_000_000) })
    const healthy = await addEndpoint()
    // By the clock that stamps the events.
    const arrivedAt = new Map<string, number>()
    healthy.receiver.answers = ({ id }) => {
      arrivedAt.set(id, Date.now())
      return {}
    }
    for (let i = 0; i < 10; i += 1) await sendOne()
    await healthy.receiver.received(20)
    for (const { id, json } of verified(healthy)) {
      const lagMs = arrivedAt.get(id)! - Date.parse(json.timestamp)
      expect(lagMs, json.type).toBeLessThan(PROMPT_MS)
    }
    await valija.sql('DELETE FROM valija.webhook_outbox')
  })
})

describe('the death of a worker', () => {
  test('between telling and writing it down means: told again, under the same id', async () => {
    const endpoint = await addEndpoint({ events: ['message.delivered'] })
    endpoint.receiver.answers = [{ status: 'silence' }]
    await sendOne()
    await endpoint.receiver.received(1)
    await valija.workers.splice(0)[0]!.kill()
    expect(await tries(endpoint)).toEqual([])
    // The dead worker's lease runs for a minute; another worker need not be waited for so long.
    await valija.sql('UPDATE valija.webhook_outbox SET due_at = now(), leased_until = now()')
    await valija.addWorker()
    await endpoint.receiver.received(2)
    const [first, second] = verified(endpoint)
    expect(second!.id).toBe(first!.id)
    expect(second!.json).toEqual(first!.json)
    const [made] = await until('the try', async () =>
      (await tries(endpoint)).length === 1 ? tries(endpoint) : null,
    )
    expect(made).toMatchObject({ outcome: 'delivered', event_id: first!.id })
  })
})

describe('what is no URL to call', () => {
  test.each([
    'ftp://acme.test/',
    'file:///etc/passwd',
    'https://user:pass@acme.test/',
    'acme.test',
    '//acme.test',
    '',
    'https://',
    'http://ac me.test/',
    'javascript:alert(1)',
  ])('no URL such as %j is taken', async (url) => {
    const { status, json } = await valija.api<{ errors: { path: string }[] }>('POST', '/webhooks', {
      url,
      events: ['*'],
    })
    expect([status, json.errors[0]?.path]).toEqual([400, '/url'])
  })
})
