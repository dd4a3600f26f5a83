/** POST /routes/:id/resume. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const body = { name: 'r', kind: 'smarthost', host: 'relay.test' }

test('200: enabled again', async () => {
  const { id } = (await api.ask('POST', '/routes', { body })).json()
  await api.ask('PATCH', `/routes/${id}`, { body: { state: 'paused' } })
  const answer = await api.ask('POST', `/routes/${id}/resume`)
  expect([answer.statusCode, answer.json()]).toMatchObject([200, { state: 'enabled', paused_reason: null }])
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/routes/rou_x/resume', 'manage'))

test('404 hides the routes of other tenants', async () => {
  const { id } = (await api.ask('POST', '/routes', { key: api.stranger.key, body })).json()
  await expectHidden(api, 'POST', (other) => `/routes/${other}/resume`, id)
})
