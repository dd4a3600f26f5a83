/** GET /tenants. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: default first, then oldest first, page by page', async () => {
  const { engine } = api.foundation.database
  for (const name of ['a', 'b']) await api.ask('POST', '/tenants', { key: adminKey, body: { name } })
  // The default tenant stands first although it is not the oldest.
  await engine.query(`UPDATE valija.tenants SET is_default = (name = 'b')`)
  const names: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page = await api.ask('GET', `/tenants?limit=1${cursor && `&cursor=${cursor}`}`, { key: adminKey })
    expect(page.statusCode).toBe(200)
    names.push(...page.json().data.map((tenant: { name: string }) => tenant.name))
    cursor = page.json().next_cursor
  }
  expect(names).toEqual(['b', 'default', 'stranger', 'a'])
})

test('400 for a cursor of another list', async () => {
  const answer = await api.ask('GET', '/tenants?cursor=key_0192f0c1a2b37c4d8e5f60718293a4b5', {
    key: adminKey,
  })
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
})

test('401 and 403 for everybody but the operator', () => expectScope(api, 'GET', '/tenants', 'operator'))
