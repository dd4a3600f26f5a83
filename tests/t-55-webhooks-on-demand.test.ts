/**
 * What the owner of a webhook does with it while mails go on: gives it a new secret without one refused signature, has it told
 * again, tries it out, and turns it on again after an outage of the endpoint.
 */
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { endOfMail, type MailEvent, readAll, sendMail } from './support/messages.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import {
  type ReceivedWebhook,
  startWebhookReceiver,
  type WebhookReceiver,
} from './support/webhook-receiver.ts'

type Endpoint = { id: string; secret: string; receiver: WebhookReceiver }
type Rotated = { secret: string; former_secret_until: string | null }

let valija: Valija
const endpoints: Endpoint[] = []

beforeAll(async () => {
  const env = { VALIJA_ALLOW_NETWORKS: '127.0.0.1/32' }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', env })
})
afterEach(async () => {
  for (const { id, receiver } of endpoints.splice(0)) {
    await valija.api('DELETE', `/webhooks/${id}`)
    await receiver.stop()
  }
})
afterAll(() => valija?.stop())

async function addEndpoint(fields: object = {}): Promise<Endpoint> {
  const receiver = await startWebhookReceiver()
  const body = { url: receiver.url, events: ['message.delivered'], ...fields }
  const { json } = expectStatus(
    await valija.api<{ id: string; secret: string }>('POST', '/webhooks', body),
    201,
  )
  receiver.secret = json.secret
  const endpoint = { ...json, receiver }
  endpoints.push(endpoint)
  return endpoint
}

/** Simulated mails, delivered by now; gives the ids of what an endpoint is told of them. */
async function happen(count: number): Promise<string[]> {
  const to = Array.from({ length: count }, (_, index) => `delivered+${index}@simulator.valija.test`)
  const { id } = await sendMail(valija.api, valija.mail({ to }))
  await endOfMail(valija.api, id)
  const events = await readAll<MailEvent>(valija.api, `/messages/${id}/events`)
  return events.filter(({ type }) => type === 'message.delivered').map((event) => event.id)
}

const replay = async ({ id }: Endpoint, body: object) =>
  expectStatus(await valija.api<{ events: number }>('POST', `/webhooks/${id}/replay`, body), 202).json.events
const change = async ({ id }: Endpoint, body: object) =>
  expectStatus(await valija.api('PATCH', `/webhooks/${id}`, body), 200)
const timesTold = ({ receiver }: Endpoint, id: string) =>
  receiver.calls.filter((call) => call.id === id).length
const outboxOf = ({ id }: Endpoint) =>
  valija.sql<{ tries: number }>('SELECT tries FROM valija.webhook_outbox WHERE webhook_id = $1', [
    id.slice(4),
  ])

const signatures = (call: ReceivedWebhook) => String(call.headers['webhook-signature']).split(' ').length

test('a secret is rotated under load: no signature is refused by a receiver that changes over in the overlap', async () => {
  const endpoint = await addEndpoint()
  const { receiver } = endpoint
  let library = new Webhook(endpoint.secret)
  const refused: string[] = []
  receiver.answers = (call) => {
    try {
      library.verify(call.text, call.headers as Record<string, string>)
    } catch (error) {
      refused.push(`${signatures(call)} signatures: ${(error as Error).message}`)
    }
    return {}
  }
  let isLoaded = true
  const load = (async () => {
    while (isLoaded) await happen(10)
  })()
  const rotate = async (body?: object) =>
    expectStatus(await valija.api<Rotated>('POST', `/webhooks/${endpoint.id}/rotate-secret`, body), 200).json
  const callsWith = (count: number, from = receiver.calls.length) =>
    until(
      `20 webhooks with ${count} signatures`,
      () => receiver.calls.slice(from).filter((call) => signatures(call) === count).length >= 20,
    )
  await callsWith(1)
  const next = await rotate({ overlap_seconds: 3_600 })
  // Still the former one, as a receiver that has not been deployed anew.
  await callsWith(2)
  library = new Webhook(next.secret)
  await callsWith(2)
  // Its time comes, without an hour's wait.
  await valija.sql(`UPDATE valija.webhooks SET former_secrets_end = ARRAY[now()] WHERE id = $1`, [
    endpoint.id.slice(4),
  ])
  await callsWith(1)
  isLoaded = false
  await load
  expect(refused).toEqual([])
  const last = receiver.calls.at(-1)!
  expect(() =>
    new Webhook(endpoint.secret).verify(last.text, last.headers as Record<string, string>),
  ).toThrow()
}, 240_000)

test('one event, a time, and all that failed are told again under the same ids', async () => {
  const endpoint = await addEndpoint()
  const { receiver } = endpoint
  const after = new Date().toISOString()
  const [first, ...others] = await happen(5)
  await until('all told', async () => receiver.calls.length === 5 && (await outboxOf(endpoint)).length === 0)
  expect(await replay(endpoint, { event_id: first })).toBe(1)
  await until('one again', () => timesTold(endpoint, first!) === 2)
  // The database's clock and this machine's are the same one here.
  expect(await replay(endpoint, { after, types: ['message.delivered'] })).toBe(5)
  await until('all again', () => others.every((id) => timesTold(endpoint, id) === 2))
  receiver.answers = () => ({ status: 500 })
  const failing = await happen(3)
  await until(
    'all failed',
    async () => (await outboxOf(endpoint)).filter(({ tries }) => tries > 0).length === 3,
  )
  await until('all wait for an hour', async () => {
    await valija.sql(
      `UPDATE valija.webhook_outbox SET due_at = now() + interval '1 h' WHERE leased_until IS NULL`,
    )
    const leased = await valija.sql('SELECT FROM valija.webhook_outbox WHERE leased_until IS NOT NULL')
    return leased.length === 0
  })
  receiver.answers = []
  expect(await replay(endpoint, { failed: true })).toBe(3)
  await until('nothing left', async () => (await outboxOf(endpoint)).length === 0)
  for (const id of failing) expect(timesTold(endpoint, id)).toBeGreaterThan(1)
  expect(receiver.calls.every((call) => call.isVerified)).toBe(true)
}, 240_000)

test('after an outage an endpoint goes on where it stopped, with what happened while it was disabled', async () => {
  const endpoint = await addEndpoint()
  const { receiver } = endpoint
  const [told] = await happen(1)
  await until('told', async () => timesTold(endpoint, told!) === 1 && (await outboxOf(endpoint)).length === 0)
  receiver.answers = () => ({ status: 410 })
  const [last] = await happen(1)
  await until('disabled', async () => {
    const { json } = await valija.api<{ status: string }>('GET', `/webhooks/${endpoint.id}`)
    return json.status === 'disabled'
  })
  const missed = await happen(5)
  receiver.answers = []
  const { json } = await valija.api<{ ok: boolean }>('POST', `/webhooks/${endpoint.id}/test`)
  expect(json).toMatchObject({ ok: true, status_code: 200 })
  const look = (id: string) =>
    valija.api<{ status: string }>('GET', `/webhooks/${endpoint.id}/deliveries/${id}`)
  expect((await look(missed[0]!)).json.status).toBe('not_told')
  await change(endpoint, { status: 'enabled' })
  await until('what it missed', () => [last!, ...missed].every((id) => timesTold(endpoint, id) > 0))
  await until('on record', async () => (await look(missed[0]!)).json.status === 'delivered')
  const [fresh] = await happen(1)
  await until('and goes on', () => timesTold(endpoint, fresh!) > 0)
  // What it was told is not told once more, nor what happened before it was there.
  expect(timesTold(endpoint, told!)).toBe(1)
  const known = new Set([told, last, fresh, ...missed])
  expect(receiver.calls.filter(({ id, json }) => !known.has(id) && json.type !== 'webhook.test')).toEqual([])
}, 240_000)

test('batches: many events in a request, in an array that is signed as a whole', async () => {
  const endpoint = await addEndpoint({ batch: { max_events: 50, max_wait_ms: 500 } })
  const { receiver } = endpoint
  const ids = await happen(200)
  const told = () => receiver.calls.flatMap((call) => call.json as unknown as MailEvent[])
  await until('all of them', () => told().length >= 200)
  expect(
    told()
      .map(({ id }) => id)
      .toSorted(),
  ).toEqual(ids.toSorted())
  expect(receiver.calls.length).toBeLessThanOrEqual(20)
  for (const call of receiver.calls) {
    expect(call.id).toMatch(/^whb_[0-9a-f]{32}$/)
    expect(new Webhook(endpoint.secret).verify(call.text, call.headers as Record<string, string>)).toEqual(
      call.json,
    )
  }
})
