/** GET /source-ips. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const make = async (address: string, more: object = {}) =>
  (
    await api.ask('POST', '/source-ips', {
      key: adminKey,
      body: { address, ehlo_name: 'mail.test', ...more },
    })
  ).json()

test('200: page by page, newest first', async () => {
  const [a, b] = [await make('192.0.2.1'), await make('192.0.2.2')]
  const first = (await api.ask('GET', '/source-ips?limit=1', { key: adminKey })).json()
  expect(first.data).toEqual([b])
  const second = await api.ask('GET', `/source-ips?limit=1&cursor=${first.next_cursor}`, { key: adminKey })
  expect(second.json()).toEqual({ data: [a], next_cursor: null })
})

test('400 for a cursor of another list', async () => {
  const url = '/source-ips?cursor=key_0192f0c1a2b37c4d8e5f60718293a4b5'
  expect((await api.ask('GET', url, { key: adminKey })).json()).toMatchObject({
    errors: [{ path: 'cursor' }],
  })
})

test('401 and 403 for everybody but the operator', () => expectScope(api, 'GET', '/source-ips', 'operator'))
