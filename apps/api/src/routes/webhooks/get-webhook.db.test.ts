/** GET /webhooks/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const body = { url: 'https://a.test', events: ['*'] }

test('200: the webhook without its secret', async () => {
  const { secret: _, ...made } = (await api.ask('POST', '/webhooks', { body })).json()
  const answer = await api.ask('GET', `/webhooks/${made.id}`)
  expect(answer.statusCode).toBe(200)
  expect(answer.json()).toEqual(made)
})

/** Writes what workers do: a try, and, if it failed, that it waits. */
async function fail(webhookId: string, statusCode: number | null, error: string | null) {
  await note(webhookId, 'failed', statusCode, error)
  await wait(webhookId, 1)
}

async function note(webhookId: string, outcome: string, statusCode: number | null, error: string | null) {
  const { database, nextId } = api.foundation
  const [id, eventId] = [nextId(), nextId()]
  await database.engine.query(
    `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, status_code, error,
                                       started_at, duration_ms)
     VALUES ($1, $2, $3, $4, 'message.delivered', 1, $5, $6, $7, now(), 12)`,
    [id, api.tenant.id, webhookId.slice(4), eventId, outcome, statusCode, error],
  )
}

const wait = (webhookId: string, count: number) =>
  api.foundation.database.engine.query(
    `INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at)
     SELECT $1, uuidv7(), $2, now() FROM generate_series(1, $3)`,
    [webhookId.slice(4), api.tenant.id, count],
  )

describe('200 tells how it stands', () => {
  const made = async () => (await api.ask('POST', '/webhooks', { body })).json().id as string
  const shown = async (id: string) => (await api.ask('GET', `/webhooks/${id}`)).json()
  const change = (id: string, columns: string) =>
    api.foundation.database.engine.query(`UPDATE valija.webhooks SET ${columns} WHERE id = $1`, [id.slice(4)])
  const time = expect.stringMatching(/Z$/)

  test('while it fails: since when, its last error and how much waits; and nothing of it once it is taken', async () => {
    const id = await made()
    await fail(id, null, 'ECONNREFUSED')
    await change(id, "failing_since = '2026-01-02T03:04:05.678Z'")
    await fail(id, 503, null)
    // Begun later, and over before that one had failed.
    await note(id, 'delivered', 200, null)
    const standing = {
      failing_since: '2026-01-02T03:04:05.678Z',
      last_error: { status_code: 503, error: null, at: time },
      pending: { events: 2, is_exact: true },
    }
    expect(await shown(id)).toMatchObject(standing)
    expect((await api.ask('GET', '/webhooks?limit=1')).json().data).toMatchObject([{ id, ...standing }])
    const changed = await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'disabled' } })
    expect(changed.json()).toMatchObject({ status: 'disabled', ...standing })
    await change(id, 'failing_since = NULL')
    expect(await shown(id)).toMatchObject({ failing_since: null, last_error: null, pending: { events: 2 } })
  })

  test('given up: what its last error was', async () => {
    const id = await made()
    await fail(id, 410, null)
    await change(id, "status = 'disabled', disabled_reason = 'gone', disabled_at = now()")
    expect(await shown(id)).toMatchObject({ failing_since: null, last_error: { status_code: 410 } })
  })

  test('what waits is counted up to 10,000, and up to 1,000 in a list', async () => {
    const id = await made()
    await wait(id, 10_001)
    expect((await shown(id)).pending).toEqual({ events: 10_000, is_exact: false })
    const list = (await api.ask('GET', '/webhooks?limit=1')).json()
    expect(list.data[0].pending).toEqual({ events: 1_000, is_exact: false })
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/webhooks/whk_x', 'read'))

test('404 hides other tenants’ webhooks', async () => {
  const foreign = await api.ask('POST', '/webhooks', { key: api.stranger.key, body })
  await expectHidden(api, 'GET', (id) => `/webhooks/${id}`, foreign.json().id)
})
