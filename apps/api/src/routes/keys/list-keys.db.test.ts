/** GET /keys. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from './refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: the tenant’s own keys, newest first, page by page, without revoked ones', async () => {
  for (const name of ['a', 'b', 'gone', 'c']) {
    const made = await api.ask('POST', '/keys', { body: { name, scopes: ['send'] } })
    if (name === 'gone') await api.ask('DELETE', `/keys/${made.json().id}`)
  }
  const names: string[] = []
  let cursor: string | null = null
  let pages = 0
  do {
    const page = await api.ask('GET', `/keys?limit=2${cursor === null ? '' : `&cursor=${cursor}`}`)
    expect(page.statusCode).toBe(200)
    names.push(...page.json().data.map((key: { name: string }) => key.name))
    cursor = page.json().next_cursor
    pages += 1
  } while (cursor !== null)
  expect(names).toEqual(['c', 'b', 'a', 'first key'])
  expect(pages).toBe(2)
})

test.each([['limit=0'], ['limit=101'], ['limit=x'], ['cursor=x'], ['page=2']])(
  '400 for ?%s',
  async (query) => {
    const answer = await api.ask('GET', `/keys?${query}`)
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: query.split('=')[0] }] })
  },
)

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/keys', 'read'))
