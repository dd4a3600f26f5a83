/** DELETE /source-ips/:id. */
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

test('204: gone, and 404 from then on', async () => {
  const { id } = await make('192.0.2.1', { warm_up: true })
  const remove = () => api.ask('DELETE', `/source-ips/${id}`, { key: adminKey })
  expect((await remove()).statusCode).toBe(204)
  expect((await remove()).statusCode).toBe(404)
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'DELETE', '/source-ips/src_x', 'operator'))
