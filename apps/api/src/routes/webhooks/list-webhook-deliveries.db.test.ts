/** GET /webhooks/:id/deliveries. */
import { formatId } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) =>
  (await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test', events: ['*'] } })).json().id

/** Writes a try as a worker does. */
async function recordTry(webhookId: string, number: number, statusCode: number | null) {
  const { database, nextId } = api.foundation
  const [id, eventId] = [nextId(), nextId()]
  await database.engine.query(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, status_code, error,
                                       response_start, started_at, duration_ms, next_try_at)
     VALUES ($1, $2, $3, $4, 'message.delivered', $5, $6, $7, $8, 'no', '2026-01-02T03:04:05.678Z', 12, $9)`,
    [
      id,
      api.tenant.id,
      webhookId.slice(4),
      eventId,
      number,
      statusCode === 200 ? 'delivered' : 'failed',
      statusCode,
      statusCode === null ? 'ECONNREFUSED' : null,
      statusCode === 200 ? null : '2026-01-02T03:09:05.678Z',
    ],
  )
  return { id: formatId('webhookTry', id), event_id: formatId('event', eventId) }
}

test('200: every try at this endpoint, newest first, page by page', async () => {
  const [webhookId, otherId] = [await add(), await add()]
  const refused = await recordTry(webhookId, 1, null)
  const delivered = await recordTry(webhookId, 2, 200)
  await recordTry(otherId, 1, 500)
  const first = await api.ask('GET', `/webhooks/${webhookId}/deliveries?limit=1`)
  expect(first.statusCode).toBe(200)
  const common = {
    type: 'message.delivered',
    batch_id: null,
    response_start: 'no',
    started_at: '2026-01-02T03:04:05.678Z',
    duration_ms: 12,
  }
  expect(first.json().data).toEqual([
    {
      ...delivered,
      ...common,
      number: 2,
      outcome: 'delivered',
      status_code: 200,
      error: null,
      next_try_at: null,
    },
  ])
  const second = await api.ask(
    'GET',
    `/webhooks/${webhookId}/deliveries?limit=1&cursor=${first.json().next_cursor}`,
  )
  const next_try_at = '2026-01-02T03:09:05.678Z'
  expect(second.json()).toEqual({
    data: [
      {
        ...refused,
        ...common,
        number: 1,
        outcome: 'failed',
        status_code: null,
        error: 'ECONNREFUSED',
        next_try_at,
      },
    ],
    next_cursor: null,
  })
})

test('200: only tries of an event, of a type, of an outcome, or of a time', async () => {
  const id = await add()
  const failed = await recordTry(id, 1, 500)
  const told = await recordTry(id, 1, 200)
  const find = async (query: string) =>
    (await api.ask('GET', `/webhooks/${id}/deliveries?${query}`))
      .json()
      .data.map((made: { id: string }) => made.id)
  expect(await find(`event_id=${told.event_id}`)).toEqual([told.id])
  expect(await find('outcome=failed')).toEqual([failed.id])
  expect(await find('type=message.delivered,message.bounced')).toEqual([told.id, failed.id])
  expect(await find('type=message.bounced')).toEqual([])
  expect(await find('after=2026-01-02T03:04:05Z')).toEqual([told.id, failed.id])
  expect(await find('after=2026-01-02T03:04:06Z')).toEqual([])
  const now = new Date().toISOString()
  expect(await find(`before=${now}&outcome=delivered`)).toEqual([told.id])
  expect(await find('before=2026-01-02T03:04:05Z')).toEqual([])
})

test.each(['cursor=1', 'event_id=1', 'type=message.unknown', 'outcome=lost', 'after=yesterday', 'status=1'])(
  '400 for %s',
  async (query) => {
    expect((await api.ask('GET', `/webhooks/${await add()}/deliveries?${query}`)).statusCode).toBe(400)
  },
)

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/webhooks/whk_x/deliveries', 'read'))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'GET', (id) => `/webhooks/${id}/deliveries`, await add(api.stranger.key)))
