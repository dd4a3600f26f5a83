/** GET /route-lists. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const routes = [{ route: 'capture' }]
const make = async (domain: string, key = api.tenant.key) =>
  (await api.ask('POST', '/route-lists', { key, body: { domain, routes } })).json()

test('200: one’s own, page by page, newest first', async () => {
  const [a, , b, shared] = [
    await make('a.test'),
    await make('a.test', api.stranger.key),
    await make('b.test'),
    await make('a.test', adminKey),
  ]
  const first = (await api.ask('GET', '/route-lists?limit=1')).json()
  expect(first.data).toEqual([b])
  expect((await api.ask('GET', `/route-lists?limit=1&cursor=${first.next_cursor}`)).json()).toEqual({
    data: [a],
    next_cursor: null,
  })
  expect((await api.ask('GET', '/route-lists', { key: adminKey })).json().data).toEqual([shared])
})

test('400 for a cursor of another list', async () => {
  const answer = await api.ask('GET', '/route-lists?cursor=key_0192f0c1a2b37c4d8e5f60718293a4b5')
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/route-lists', 'read'))
