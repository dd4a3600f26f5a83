/** GET /erasures. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { erase } from './erasures.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

test('200: this tenant’s, newest first, page by page', async () => {
  await erase(api, 'x@example.test', api.stranger.key)
  const asked = []
  for (const name of ['ann', 'bob', 'cara']) asked.unshift((await erase(api, `${name}@example.test`)).json())
  const first = (await api.ask('GET', '/erasures?limit=2')).json()
  expect(first.data).toEqual(asked.slice(0, 2))
  const rest = (await api.ask('GET', `/erasures?limit=2&cursor=${first.next_cursor}`)).json()
  expect(rest).toEqual({ data: asked.slice(2), next_cursor: null })
})

test('400 for a cursor of another list', async () => {
  const answer = await api.ask('GET', '/erasures?cursor=sup_0192f0c1a2b37c4d8e5f60718293a4b5')
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/erasures', 'read'))
