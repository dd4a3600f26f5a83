/** GET /domains/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: as it was added', async () => {
  const made = (await api.ask('POST', '/domains', { body: { name: 'a.test' } })).json()
  const answer = await api.ask('GET', `/domains/${made.id}`)
  expect(answer.statusCode).toBe(200)
  expect(answer.json()).toEqual(made)
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/domains/dom_x', 'read'))

test('404 hides other tenants’ domains', async () => {
  const foreign = await api.ask('POST', '/domains', { key: api.stranger.key, body: { name: 'a.test' } })
  await expectHidden(api, 'GET', (id) => `/domains/${id}`, foreign.json().id)
})
