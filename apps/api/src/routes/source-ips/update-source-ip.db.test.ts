/** PATCH /source-ips/:id. */
import { parseId } from '@valija/core'
import { drawFromWarmUp } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

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

const change = (id: string, body: object) => api.ask('PATCH', `/source-ips/${id}`, { key: adminKey, body })

test('200: changes what is given and nothing else', async () => {
  const made = await make('192.0.2.1', { bind: '10.0.0.1', ipv6: '2001:db8::1' })
  expect((await change(made.id, {})).json()).toEqual(made)
  expect((await change(made.id, { state: 'paused', weight: 7 })).json()).toEqual({
    ...made,
    state: 'paused',
    weight: 7,
  })
  expect((await change(made.id, { bind: null, ipv6: null })).json()).toMatchObject({
    bind: '192.0.2.1',
    ipv6: null,
  })
})

test('200: a warm-up goes on where it is, and begins anew after there was none', async () => {
  const { id } = await make('192.0.2.2', { warm_up: true })
  const plan = { caps: [100], maxDeferralRate: 0.1, maxComplaintRate: 0.001 }
  const key = { sourceId: parseId('source', id)!, provider: 'google' }
  await drawFromWarmUp(api.foundation.database, key, plan, { handedOff: 0, deferred: 0 }, 4)
  const providers = async (body: object) => (await change(id, body)).json().warm_up?.providers.length
  expect(await providers({ warm_up: { caps: [7, 9] } })).toBe(1)
  expect(await providers({ warm_up: null })).toBeUndefined()
  expect(await providers({ warm_up: true })).toBe(0)
})

test('400 names the place', async () => {
  const { id } = await make('192.0.2.3')
  await expectFault(api, 'PATCH', `/source-ips/${id}`, { address: '192.0.2.4' }, '/address', {
    key: adminKey,
  })
  await expectFault(api, 'PATCH', `/source-ips/${id}`, { weight: 1_001 }, '/weight', { key: adminKey })
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'PATCH', '/source-ips/src_x', 'operator', {}))

test('404 for an unknown one', async () => {
  expect((await change('src_0192f0c1a2b37c4d8e5f60718293a4b5', {})).statusCode).toBe(404)
})
