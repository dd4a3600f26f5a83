/** GET /webhooks/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
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

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/webhooks/whk_x', 'read'))

test('404 hides other tenants’ webhooks', async () => {
  const foreign = await api.ask('POST', '/webhooks', { key: api.stranger.key, body })
  await expectHidden(api, 'GET', (id) => `/webhooks/${id}`, foreign.json().id)
})
