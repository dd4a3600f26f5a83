/** GET /webhooks/:id/deliveries/:event_id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) =>
  (await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test', events: ['*'] } })).json().id
const engine = () => api.foundation.database.engine
const uuidOf = (id: string) => id.slice(4)
const look = async (id: string, event: string) => {
  const answer = await api.ask('GET', `/webhooks/${id}/deliveries/${event}`)
  expect(answer.statusCode).toBe(200)
  return answer.json()
}

/** Accepts a mail and gives back its event. */
async function happen(key = api.tenant.key): Promise<{ id: string; type: string; timestamp: string }> {
  const { id } = await api.send()
  return (await api.ask('GET', `/messages/${id}/events`, { key })).json().data[0]
}

async function recordTry(webhook: string, event: string, outcome: 'delivered' | 'failed') {
  await engine().query(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, started_at, duration_ms)
     VALUES ($1, $2, $3, $4, 'message.accepted', 1, $5, now(), 12)`,
    [api.foundation.nextId(), api.tenant.id, uuidOf(webhook), uuidOf(event), outcome],
  )
}

describe('200 says whether it was told', () => {
  test('waiting, sending, held while it is disabled, and delivered with every try', async () => {
    const id = await add()
    const event = await happen()
    expect(await look(id, event.id)).toEqual({
      event_id: event.id,
      type: event.type,
      timestamp: event.timestamp,
      status: 'waiting',
      summary: expect.stringContaining('next_try_at'),
      next_try_at: expect.stringMatching(/Z$/),
      tries: [],
    })
    await engine().query(`UPDATE valija.webhook_outbox SET leased_until = now() + interval '1 min'`)
    expect(await look(id, event.id)).toMatchObject({ status: 'sending', next_try_at: null })
    await engine().query('UPDATE valija.webhook_outbox SET leased_until = NULL')
    await recordTry(id, event.id, 'failed')
    await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'disabled' } })
    expect(await look(id, event.id)).toMatchObject({
      status: 'waiting',
      summary: expect.stringContaining('disabled'),
      next_try_at: null,
      tries: [{ outcome: 'failed' }],
    })
    await recordTry(id, event.id, 'delivered')
    await engine().query('DELETE FROM valija.webhook_outbox')
    expect(await look(id, event.id)).toMatchObject({
      status: 'delivered',
      tries: [{ outcome: 'delivered' }, { outcome: 'failed' }],
    })
  })

  test('not told, when it was not there at that time', async () => {
    const event = await happen()
    expect(await look(await add(), event.id)).toMatchObject({
      status: 'not_told',
      summary: expect.stringContaining('/replay'),
      tries: [],
    })
  })
})

test('200: not told yet, when it happened while the webhook was disabled', async () => {
  const id = await add()
  await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'disabled' } })
  const event = await happen()
  expect(await look(id, event.id)).toMatchObject({
    status: 'not_told',
    summary: expect.stringContaining('once it is enabled'),
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/webhooks/whk_x/deliveries/evt_x', 'read'))

test('404 hides other tenants’ webhooks and events', async () => {
  const event = await happen()
  await expectHidden(
    api,
    'GET',
    (id) => `/webhooks/${id}/deliveries/${event.id}`,
    await add(api.stranger.key),
  )
  const strangers = await add(api.stranger.key)
  const { statusCode } = await api.ask('GET', `/webhooks/${strangers}/deliveries/${event.id}`, {
    key: api.stranger.key,
  })
  expect(statusCode).toBe(404)
  const mine = await add()
  await expectHidden(
    api,
    'GET',
    (id) => `/webhooks/${mine}/deliveries/${id}`,
    'evt_0192f0c1a2b37c4d8e5f60718293a4b6',
  )
})
