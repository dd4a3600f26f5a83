/** GET /webhooks/:id/pending. */
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

test('200: what it has still to be told, oldest first, page by page', async () => {
  const id = await add()
  await api.send()
  await api.send()
  const { engine } = api.foundation.database
  const [early, late] = (await api.events()).data
  await engine.query(
    `UPDATE valija.webhook_outbox SET tries = 2, due_at = '2030-01-02T03:04:05.678Z' WHERE event_id = $1`,
    [early?.id.slice(4)],
  )
  await engine.query(
    `UPDATE valija.webhook_outbox SET leased_until = now() + interval '1 min' WHERE event_id = $1`,
    [late?.id.slice(4)],
  )
  const first = (await api.ask('GET', `/webhooks/${id}/pending?limit=1`)).json()
  expect(first.data).toEqual([
    {
      event_id: early?.id,
      type: early?.type,
      timestamp: early?.timestamp,
      tries: 2,
      status: 'waiting',
      next_try_at: '2030-01-02T03:04:05.678Z',
    },
  ])
  const second = (await api.ask('GET', `/webhooks/${id}/pending?limit=1&cursor=${first.next_cursor}`)).json()
  expect(second).toMatchObject({
    data: [{ event_id: late?.id, tries: 0, status: 'sending', next_try_at: null }],
    next_cursor: null,
  })
})

test('400 for a cursor that is none', async () => {
  expect((await api.ask('GET', `/webhooks/${await add()}/pending?cursor=1`)).statusCode).toBe(400)
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/webhooks/whk_x/pending', 'read'))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'GET', (id) => `/webhooks/${id}/pending`, await add(api.stranger.key)))
