/** GET /domains. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the tenant’s own, newest first, page by page', async () => {
  for (const name of ['a.test', 'b.test', 'c.test']) await api.ask('POST', '/domains', { body: { name } })
  await api.ask('POST', '/domains', { key: api.stranger.key, body: { name: 'foreign.test' } })
  const first = (await api.ask('GET', '/domains?limit=2')).json()
  expect(first.data.map((domain: { name: string }) => domain.name)).toEqual(['c.test', 'b.test'])
  const second = (await api.ask('GET', `/domains?limit=2&cursor=${first.next_cursor}`)).json()
  expect(second).toMatchObject({
    data: [
      {
        name: 'a.test',
        records: [{ purpose: 'ownership' }, { purpose: 'dkim' }, { purpose: 'dkim' }, { purpose: 'dmarc' }],
      },
    ],
    next_cursor: null,
  })
})

test('400 for an unknown query key', async () => {
  expect((await api.ask('GET', '/domains?name=a')).statusCode).toBe(400)
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/domains', 'read'))
