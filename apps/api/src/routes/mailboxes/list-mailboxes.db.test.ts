/** GET /mailboxes. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectScope } from '../keys/refusals.test-support.ts'
import { makeMailbox } from './mailboxes.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const names = (answer: { json(): { data: { name: string }[] } }) => answer.json().data.map(({ name }) => name)

test('200: a tenant’s own, page by page, newest first; the installation’s for the operator alone', async () => {
  for (const [name, key] of [
    ['shared', adminKey],
    ['a'],
    ['foreign', api.stranger.key],
    ['b'],
    ['c'],
  ] as const)
    await makeMailbox(api, { name }, key === undefined ? {} : { key })
  const first = await api.ask('GET', '/mailboxes?limit=2')
  expect(names(first)).toEqual(['c', 'b'])
  const second = await api.ask('GET', `/mailboxes?limit=2&cursor=${first.json().next_cursor}`)
  expect([names(second), second.json().next_cursor]).toEqual([['a'], null])
  expect(names(await api.ask('GET', '/mailboxes', { key: adminKey }))).toEqual(['shared'])
  expect(names(await api.ask('GET', '/mailboxes', asOperator(api.stranger.id)))).toEqual(['foreign'])
})

test('400 for a cursor of another list', async () => {
  const answer = await api.ask('GET', '/mailboxes?cursor=key_0192f0c1a2b37c4d8e5f60718293a4b5')
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/mailboxes', 'read'))
