/** GET /erasures/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { erase, workOff } from './erasures.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

test('200: how far it is, and when it was done, without the address', async () => {
  await api.send({ to: 'ann@example.test' })
  const asked = (await erase(api, 'ann@example.test')).json()
  await workOff(api)
  const answer = await api.ask('GET', `/erasures/${asked.id}`)
  expect(answer.json()).toEqual({
    ...asked,
    status: 'done',
    counts: { cancelled: 1, recipients: 1, bodies: 1, events: expect.any(Number), attempts: 0 },
    completed_at: expect.any(String),
  })
  expect(answer.body).not.toContain('ann@')
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/erasures/ers_x', 'read'))

test('404 hides other tenants’ erasures', async () => {
  const { id } = (await erase(api, 'bob@example.test', api.stranger.key)).json()
  await expectHidden(api, 'GET', (given) => `/erasures/${given}`, id)
})
