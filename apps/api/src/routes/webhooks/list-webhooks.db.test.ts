/** GET /webhooks. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the tenant’s own, newest first, page by page', async () => {
  const add = (url: string, key = api.tenant.key) =>
    api.ask('POST', '/webhooks', { key, body: { url, events: ['*'] } })
  for (const url of ['https://a.test', 'https://b.test', 'https://c.test']) await add(url)
  await add('https://foreign.test', api.stranger.key)
  const first = (await api.ask('GET', '/webhooks?limit=2')).json()
  expect(first.data.map((webhook: { url: string }) => webhook.url)).toEqual([
    'https://c.test',
    'https://b.test',
  ])
  const second = (await api.ask('GET', `/webhooks?limit=2&cursor=${first.next_cursor}`)).json()
  expect(second).toMatchObject({ data: [{ url: 'https://a.test' }], next_cursor: null })
})

test('400 for an unknown query key', async () => {
  expect((await api.ask('GET', '/webhooks?status=enabled')).statusCode).toBe(400)
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/webhooks', 'read'))
