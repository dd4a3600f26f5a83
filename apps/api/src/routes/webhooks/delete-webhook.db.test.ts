/** DELETE /webhooks/:id. */
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) =>
  (await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test', events: ['*'] } })).json().id

test('204: it is gone with what it had still to be told', async () => {
  const id = await add()
  await api.send()
  const { engine } = api.foundation.database
  const waiting = () => engine.query('SELECT FROM valija.webhook_outbox WHERE webhook_id = $1', [id.slice(4)])
  expect((await waiting()).rowCount).toBeGreaterThan(0)
  expect((await api.ask('DELETE', `/webhooks/${id}`)).statusCode).toBe(204)
  expect((await waiting()).rowCount).toBe(0)
  expect((await api.ask('DELETE', `/webhooks/${id}`)).statusCode).toBe(404)
})

test('204: a mail that is accepted while it goes is accepted all the same', async () => {
  const id = await add()
  const { url } = api.foundation.database
  const [deleting, looking] = [new pg.Client(url), new pg.Client(url)]
  await Promise.all([deleting.connect(), looking.connect()])
  await deleting.query('BEGIN')
  await deleting.query('DELETE FROM valija.webhooks WHERE id = $1', [id.slice(4)])
  const sent = api.send()
  await until('the mail waits for the webhook', async () => {
    const waiting = await looking.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return waiting.rowCount === 1
  })
  await deleting.query('COMMIT')
  await sent // which throws unless the answer is 202
  await Promise.all([deleting.end(), looking.end()])
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/webhooks/whk_x', 'manage'))

test('404 hides other tenants’ webhooks, and leaves them', async () => {
  const id = await add(api.stranger.key)
  await expectHidden(api, 'DELETE', (given) => `/webhooks/${given}`, id)
  expect((await api.ask('GET', `/webhooks/${id}`, { key: api.stranger.key })).statusCode).toBe(200)
})
