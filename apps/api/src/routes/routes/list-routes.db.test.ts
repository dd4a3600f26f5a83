/** GET /routes. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const make = async (name: string, key?: string) =>
  api.ask('POST', '/routes', {
    ...(key && { key }),
    body: { name, kind: 'smarthost', host: 'relay.test', user: 'u', password: 'p' },
  })
const names = (answer: { json(): { data: { name: string }[] } }) => answer.json().data.map(({ name }) => name)

test('200: a tenant’s own and the shared ones, page by page, newest first', async () => {
  for (const [name, key] of [['shared', adminKey], ['a'], ['foreign', api.stranger.key], ['b']] as const)
    await make(name, key)
  const first = await api.ask('GET', '/routes?limit=2')
  expect(names(first)).toEqual(['b', 'a'])
  const second = await api.ask('GET', `/routes?limit=2&cursor=${first.json().next_cursor}`)
  expect(names(second)).toEqual(['shared'])
  expect(second.json().next_cursor).toBeNull()
  // Where a shared route leads is the operator's business.
  expect(second.json().data[0]).toMatchObject({
    shared: true,
    host: null,
    port: null,
    user: null,
    has_password: false,
  })
  const shown = await api.ask('GET', '/routes', { key: adminKey })
  expect(shown.json().data).toMatchObject([
    { name: 'shared', host: 'relay.test', user: 'u', has_password: true },
  ])
})

test('400 for a cursor of another list', async () => {
  const answer = await api.ask('GET', '/routes?cursor=key_0192f0c1a2b37c4d8e5f60718293a4b5')
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/routes', 'read'))
