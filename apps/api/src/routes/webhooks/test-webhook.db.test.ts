/** POST /webhooks/:id/test. */
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../../../../../tests/support/webhook-receiver.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
let receiver: WebhookReceiver
beforeAll(async () => {
  api = await openTestApi({ allowNetworks: ['127.0.0.1/32'] })
})
beforeEach(async () => {
  receiver = await startWebhookReceiver()
})
afterEach(() => receiver.stop())
afterAll(() => api.close())

async function add(fields: object = {}, key = api.tenant.key): Promise<{ id: string; secret: string }> {
  const body = { url: receiver.url, events: ['message.bounced'], ...fields }
  return (await api.ask('POST', '/webhooks', { key, body })).json()
}
const ask = (id: string) => api.ask('POST', `/webhooks/${id}/test`)

describe('200', () => {
  test('sends a signed event of type webhook.test and says what the endpoint answered', async () => {
    const { id, secret } = await add()
    receiver.answers = [{ status: 201, body: 'thanks' }]
    const answer = await ask(id)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({
      ok: true,
      event_id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
      webhook_id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
      status_code: 201,
      error: null,
      response_start: 'thanks',
      duration_ms: expect.any(Number),
    })
    const [call] = receiver.calls
    const told = new Webhook(secret).verify(call!.text, call!.headers as Record<string, string>)
    expect(told).toEqual({
      id: answer.json().event_id,
      type: 'webhook.test',
      timestamp: expect.stringMatching(/Z$/),
      data: { webhook_id: id },
    })
    expect(call!.id).toBe(answer.json().webhook_id)
    // No event of the stream, and no try of the log.
    expect((await api.events()).data).toEqual([])
    expect((await api.ask('GET', `/webhooks/${id}/deliveries`)).json().data).toEqual([])
  })

  test('also while it is disabled, and as an array where it wants batches', async () => {
    const { id } = await add({ batch: {} })
    await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'disabled' } })
    expect((await ask(id)).json().ok).toBe(true)
    expect(receiver.calls[0]!.json).toMatchObject([{ type: 'webhook.test' }])
  })

  test.each([
    [
      { status: 500, body: 'no' },
      { status_code: 500, error: null, response_start: 'no' },
    ],
    [
      { status: 302, headers: { location: '/' } },
      { status_code: 302, error: expect.stringContaining('not followed') },
    ],
    [
      { status: 'drop' },
      { status_code: null, error: expect.stringMatching(/^connection_failed/), response_start: null },
    ],
  ] as const)('%j is no success, and told', async (given, expected) => {
    receiver.answers = [given]
    expect((await ask((await add()).id)).json()).toMatchObject({ ok: false, ...expected })
    expect(receiver.calls).toHaveLength(1)
  })

  test('a private address is not called', async () => {
    const { id } = await add({ url: 'http://127.0.0.2:1/' })
    expect((await ask(id)).json()).toMatchObject({
      ok: false,
      error: expect.stringMatching(/^address_refused/),
    })
  })
})

test('400 for a body', async () => {
  const { id } = await add()
  const answer = await api.ask('POST', `/webhooks/${id}/test`, { body: { type: 'message.delivered' } })
  expect(answer.statusCode).toBe(400)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/webhooks/whk_x/test', 'manage'))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'POST', (id) => `/webhooks/${id}/test`, (await add({}, api.stranger.key)).id))

test('503 for a tenant whose endpoint keeps its tests, and for nobody else', async () => {
  const [mine, theirs] = [await add(), await add({}, api.stranger.key)]
  receiver.answers = Array.from({ length: 4 }, () => ({ status: 'silence' }))
  const kept = Array.from({ length: 4 }, () => ask(mine.id))
  await until('four tests', () => receiver.calls.length === 4)
  const refused = await ask(mine.id)
  expect([refused.statusCode, refused.headers['retry-after']]).toEqual([503, '5'])
  const other = await api.ask('POST', `/webhooks/${theirs.id}/test`, { key: api.stranger.key })
  expect(other.json().ok).toBe(true)
  await receiver.stop()
  expect((await Promise.all(kept)).map((answer) => answer.json().ok)).toEqual([false, false, false, false])
  receiver = await startWebhookReceiver()
  expect((await ask(mine.id)).statusCode).toBe(200)
})
