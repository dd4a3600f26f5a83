/** GET /suppressions. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { quarantine } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
  const add = (body: object, key = api.tenant.key) => api.ask('POST', '/suppressions', { key, body })
  await add({ email: 'Ann@example.test' })
  await add({ email: 'ann@example.test', stream: 'bulk' })
  await add({ email: 'bob@example.test', stream: 'transactional' })
  await add({ email: 'carl@example.test' })
  await quarantine(api, 'carl@example.test')
  await add({ email: 'ann@example.test' }, api.stranger.key)
})
afterAll(() => api.close())

const names = async (query: string) => {
  const answer = await api.ask('GET', `/suppressions?${query}`)
  expect(answer.statusCode).toBe(200)
  return (answer.json() as { data: { email: string; stream: string | null }[] }).data.map(
    ({ email, stream }) => `${email.split('@')[0]} ${stream ?? 'both'}`,
  )
}

describe('200', () => {
  test.each([
    ['', ['carl both', 'bob transactional', 'ann bulk', 'Ann both']],
    ['email=ANN@EXAMPLE.test', ['ann bulk', 'Ann both']],
    ['email=nobody@example.test', []],
    ['status=quarantined', ['carl both']],
    ['status=active', ['bob transactional', 'ann bulk', 'Ann both']],
    ['stream=bulk', ['carl both', 'ann bulk', 'Ann both']],
    ['reason=mailbox_unknown', ['carl both']],
    ['email=ann@example.test&stream=transactional&status=active&reason=manual', ['Ann both']],
  ])('the tenant’s own, newest first, that fit %j', async (query, expected) => {
    expect(await names(query)).toEqual(expected)
  })

  test('page by page', async () => {
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const { data, next_cursor } = (await api.ask('GET', `/suppressions?limit=1${cursor}`)).json()
      seen.push(...data.map(({ email }: { email: string }) => email))
      if (next_cursor === null) break
      cursor = `&cursor=${next_cursor}`
    }
    expect(seen).toEqual(['carl@example.test', 'bob@example.test', 'ann@example.test', 'Ann@example.test'])
  })
})

test.each([
  ['email=ann', 'email'],
  ['status=lifted', 'status'],
  ['stream=news', 'stream'],
  ['reason=spam', 'reason'],
  ['limit=0', 'limit'],
  ['cursor=x', 'cursor'],
  ['address=ann@example.test', 'address'],
])('400 for %s', async (query, path) => {
  const answer = await api.ask('GET', `/suppressions?${query}`)
  expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/suppressions', 'read'))
