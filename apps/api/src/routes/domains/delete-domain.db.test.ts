/** DELETE /domains/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('204: nothing can be sent from it soon after', async () => {
  const { key, id: tenantId } = api.stranger
  const vouch = { ...asOperator(tenantId), body: { name: 'a.test', vouched: true } }
  const { id } = (await api.ask('POST', '/domains', vouch)).json()
  const mail = { from: 'a@a.test', to: 'b@example.test', subject: 's', text: 't' }
  const send = async () => (await api.ask('POST', '/send', { key, body: mail })).statusCode
  expect(await send()).toBe(202)
  expect((await api.ask('DELETE', `/domains/${id}`, { key })).statusCode).toBe(204)
  await expect.poll(send, { timeout: 1_500 }).toBe(403)
  expect((await api.ask('DELETE', `/domains/${id}`, { key })).statusCode).toBe(404)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/domains/dom_x', 'manage'))

test('404 hides other tenants’ domains, and leaves them', async () => {
  const { key } = api.stranger
  const { id } = (await api.ask('POST', '/domains', { key, body: { name: 'b.test' } })).json()
  await expectHidden(api, 'DELETE', (given) => `/domains/${given}`, id)
  expect((await api.ask('GET', `/domains/${id}`, { key })).statusCode).toBe(200)
})
